"""What stays constant while molecules are sampled."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ead_core.diffusion.corrector import Corrector
from ead_core.diffusion.gauge import GAUGES, Gauge, PinnedGauge
from ead_core.diffusion.gaussian_start import GaussianStart
from ead_core.diffusion.grid import inside
from ead_core.diffusion.pauses import PAUSES, PauseMode
from ead_core.diffusion.policy import Policy
from ead_core.diffusion.posterior import SOLVERS, Moves, Solver
from ead_core.diffusion.pull import Pull
from ead_core.diffusion.restarts import Restarts
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.diffusion.temperature import ScoreRescaling
from ead_core.diffusion.velocity import VELOCITIES, Velocity
from ead_core.networks.inputs import DenoiserFunction


@dataclass(frozen=True)
class Process:
    """Everything that stays constant during a run, with nothing left to look up.

    Attributes:
        denoiser: gives ε̂.
        schedule: α and σ of every level.
        grid: levels of the sampling grid in ascending order, from 0 to where molecules begin; strictly, unless the
            solver stays at the top.
        policy: who moves.
        pause: what happens to an atom that does not.
        own_noise: whether a velocity with the noise of the move under decision counts, or only earlier ones.
        solver: how a move is made.
        velocity: what the policy is told of a move.
        frame: makes the gauge of training.
        guidance: ω, how far predictions go beyond the conditional one; 0 needs no second call.
        guidance_levels: between which shares of T they do so.
        pinned: whether molecules have held atoms, which are their frame.
        num_draws: random numbers per molecule that the network asks for.
        self_conditioning: whether the network is given its last x̂.
        same_draws: whether it gets the same ones in every call, or new ones.
        start: what molecules begin as; None is standard normal noise, as at T.
        cooling: factors of ε̂; None is the temperature 1.
        corrector: rounds between moves; None makes none.
        restarts: of molecules with the wrong elements; None lets them be.
        pulls: towards what is asked of molecules; none where nothing is.
    """

    denoiser: DenoiserFunction
    schedule: NoiseSchedule
    grid: Tensor
    policy: Policy
    pause: PauseMode = PAUSES["repeat"]
    own_noise: bool = True
    solver: Solver = SOLVERS["ancestral"]
    velocity: Velocity = VELOCITIES["z"]
    frame: Callable[[NoiseSchedule], Gauge] = GAUGES["z"]
    guidance: float = 0.0
    guidance_levels: tuple[float, float] = (0.0, 1.0)
    pinned: bool = False
    num_draws: int = 0
    self_conditioning: bool = False
    same_draws: bool = False
    start: GaussianStart | None = None
    cooling: ScoreRescaling | None = None
    corrector: Corrector | None = None
    restarts: Restarts | None = None
    pulls: tuple[Pull, ...] = ()

    def gauge(self, held: Tensor) -> Gauge:
        """What keeps the translation of molecules fixed; `held` [B, N] are their held atoms."""
        return PinnedGauge(self.schedule, held) if self.pinned else self._gauge

    @cached_property
    def _gauge(self) -> Gauge:
        return self.frame(self.schedule)

    def scale(self, levels: Tensor) -> Tensor:
        """ω of every atom [B, N, 1]: 0 outside of `guidance_levels` (limited-interval guidance, arXiv 2404.07724)."""
        return torch.where(inside(levels, self.guidance_levels, self.schedule.steps), self.guidance, 0.0)[..., None]

    @property
    def remembers_moves_only(self) -> bool:
        """Whether velocities are kept at advances alone.

        An atom on hold does not move; without noise its velocities would differ by its neighbours' moves only.
        """
        return self.pause.still and not self.velocity.noisy

    @cached_property
    def moves(self) -> Moves:
        """The coefficients of all moves on the grid."""
        return Moves(self.schedule, self.grid, self.solver)

    @cached_property
    def factors(self) -> Tensor | None:
        """By how much ε̂ is scaled at every step of the grid [R + 1]; None where nothing is cooled."""
        return None if self.cooling is None else self.cooling.factors(self.schedule, self.grid)

    @cached_property
    def rounds(self) -> Tensor:
        """Rounds of the corrector that a molecule makes while its highest atom is at a step of the grid [R + 1]."""
        if self.corrector is None:
            return torch.zeros_like(self.grid)
        return self.corrector.plan(self.grid, self.schedule.steps)

    @cached_property
    def restart_steps(self) -> tuple[int, int] | None:
        """The steps of the grid at which molecules are looked at and to which they go back; None without restarts."""
        return None if self.restarts is None else self.restarts.steps(self.grid, self.schedule.steps)

    @cached_property
    def calls(self) -> Tensor:
        """Network calls that a molecule makes while its highest atom is at a step of the grid [R + 1].

        At step 0 it is decoded. The gradients of pulls are counted in; pauses and guidance are not.
        """
        gradients = sum(pull.calls * pull.within(self.grid, self.schedule.steps).long() for pull in self.pulls)
        return (1 + self.rounds) * (1 + gradients)

    @property
    def gradient_calls(self) -> int:
        """Most network calls that the pulls add to one."""
        return sum(pull.calls for pull in self.pulls)

    @property
    def restart_calls(self) -> int:
        """Most network calls of a molecule after it has gone back up, pauses and guidance not counted."""
        if self.restarts is None or self.restart_steps is None:
            return 0
        low, high = self.restart_steps
        return self.restarts.most_of_all * int(self.calls[low + 1 : high + 1].sum())

    @property
    def most_calls(self) -> int:
        """Most network calls of a molecule without pauses and guidance."""
        return int(self.calls.sum()) + self.restart_calls
