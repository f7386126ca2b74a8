"""The one sampling loop (EAD Algorithm 2): denoiser, schedule, policy and posterior meet here and nowhere else.

A run is a generator of immutable states, so progress bars, traces, and branching from a stored state are the
caller's business. All noise is keyed by (seed, molecule id, iteration).

Legend: B molecules, N padded atoms, F features, W remembered velocities (latest last).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ead_core.diffusion.context import conditioned, guide
from ead_core.diffusion.fragments import follow, impose
from ead_core.diffusion.gauge import GAUGES, Gauge, YGauge
from ead_core.diffusion.policy import Policy, Situation
from ead_core.diffusion.posterior import Moves, decode_positions
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.diffusion.velocity import VELOCITIES, Attempt
from ead_core.molecules import centre_state
from ead_core.noise import Stream, normal
from ead_core.precision import DenoiserFunction

HISTORY = 10  # velocities kept, enough for every window that is swept
PER_MOLECULE = {"seeds", "ids", "iterations", "context"}  # what of a state has no dimension of atoms


@dataclass(frozen=True)
class Process:
    """Everything that stays constant during a run.

    Attributes:
        denoiser: ε̂ from (z, levels, mask) and a context.
        schedule: α and σ of every level.
        grid: levels of the sampling grid in strictly ascending order, grid[0] = 0, grid[-1] = T.
        policy: who moves.
        pause_mode: what happens to an atom that does not (`repeat`, `renoise` or `hold`).
        decision: whether the velocity of the move under decision counts (`own_noise`) or not (`previous`).
        solver: how a move is made (a key of `SOLVERS`).
        velocity: what the policy is told of a move (a key of `VELOCITIES`).
        frame: the gauge of training (a key of `GAUGES`).
        guidance: ω, how far predictions go beyond the conditional one; 0 needs no second call.
    """

    denoiser: DenoiserFunction
    schedule: NoiseSchedule
    grid: Tensor
    policy: Policy
    pause_mode: str
    decision: str
    solver: str = "ancestral"
    velocity: str = "z"
    frame: str = "z"
    guidance: float = 0.0

    @cached_property
    def gauge(self) -> Gauge:
        """What keeps the translation fixed."""
        return GAUGES[self.frame](self.schedule)

    @property
    def remembers_moves_only(self) -> bool:
        """Whether velocities are kept at advances alone.

        An atom on hold does not move; without noise its velocities would differ by its neighbours' moves only.
        """
        return self.pause_mode == "hold" and not VELOCITIES[self.velocity].noisy

    @cached_property
    def moves(self) -> Moves:
        """The coefficients of all moves on the grid."""
        return Moves(self.schedule, self.grid, self.solver)


@dataclass(frozen=True)
class SamplerState:
    """Where a batch stands between two iterations.

    Attributes:
        seeds, ids: [B] each molecule's seed and id, together the key of its noise.
        mask: [B, N] real atoms.
        z: [B, N, 3 + F].
        rungs: [B, N] position on the grid, 0 = clean.
        velocities: [B, N, W].
        prediction: [B, N, 3 + F] x̂ from which each atom left the rung above (multistep solvers; else 0).
        pauses: [B, N] consecutive pauses.
        iterations: [B] iterations made so far.
        context: [B, 2P] what the network is told of each molecule (context.py); P = 0 without conditions.
        held: [B, N, 4 + F] a fragment that is kept (fragments.py); [B, N, 0] without one.
    """

    seeds: Tensor
    ids: Tensor
    mask: Tensor
    z: Tensor
    rungs: Tensor
    velocities: Tensor
    prediction: Tensor
    pauses: Tensor
    iterations: Tensor
    context: Tensor
    held: Tensor

    def select(self, rows: Tensor) -> "SamplerState":
        """The molecules at `rows` (indices or a boolean mask)."""
        return SamplerState(**{name: tensor[rows] for name, tensor in vars(self).items()})

    def resize(self, width: int) -> "SamplerState":
        """The same molecules padded to `width` atoms, at least as many as the largest of them has."""
        return SamplerState(
            **{name: t if name in PER_MOLECULE else _padded(t, width) for name, t in vars(self).items()}
        )


def _padded(tensor: Tensor, width: int) -> Tensor:
    """A per-atom tensor [B, N, …] with zeros added or columns taken away."""
    if tensor.shape[1] == width:
        return tensor
    return torch.nn.functional.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, width - tensor.shape[1]))


def join(groups: Sequence[SamplerState]) -> SamplerState:
    """Molecules of several groups of equal width as one state, whatever stage they are at."""
    return SamplerState(**{name: torch.cat([vars(group)[name] for group in groups]) for name in vars(groups[0])})


def initial_state(
    seeds: Tensor,
    ids: Tensor,
    mask: Tensor,
    channels: int,
    process: Process,
    dtype: torch.dtype = torch.float32,
    context: Tensor | None = None,
) -> SamplerState:
    """z ~ N(0, I) in the zero-centre subspace, every atom at the top of the grid; arguments as in the state."""
    noise = normal(seeds, ids, 0, Stream.PRIOR, (mask.shape[1], channels), dtype)
    return SamplerState(
        seeds=seeds,
        ids=ids,
        mask=mask,
        z=centre_state(noise, mask),
        prediction=torch.zeros_like(noise),
        rungs=mask.long() * (len(process.grid) - 1),
        velocities=torch.zeros((*mask.shape, HISTORY), dtype=dtype, device=mask.device),
        pauses=torch.zeros_like(mask, dtype=torch.long),
        iterations=torch.zeros_like(ids),
        context=torch.zeros((len(ids), 0), dtype=dtype, device=mask.device) if context is None else context.to(dtype),
        held=torch.zeros((*mask.shape, 0), dtype=dtype, device=mask.device),
    )


def step(state: SamplerState, process: Process) -> SamplerState:
    """One iteration: a network call (two with guidance), and the move that it allows."""
    state = posed(state, process)
    return advance(state, predict(state, process), process)


def posed(state: SamplerState, process: Process) -> SamplerState:
    """The state that the network is shown: with held atoms as their fragment has them, noised to their levels."""
    if not state.held.shape[2]:
        return state
    levels = process.grid[state.rungs]
    alpha, sigma = (c(levels)[..., None].to(state.z.dtype) for c in (process.schedule.alpha, process.schedule.sigma))
    z = impose(state.z, state.held, alpha, sigma, _noise(state, Stream.FRAGMENT, process))
    return replace(state, z=process.gauge.place(z, levels, state.mask))


def predict(state: SamplerState, process: Process) -> Tensor:
    """ε̂ [B, N, 3 + F] at the state: one network call, and another if a molecule with a condition is to be guided."""
    inputs = state.z, process.grid[state.rungs], state.mask
    if not state.context.shape[1]:
        return process.denoiser(*inputs)
    eps, told = process.denoiser(*inputs, state.context), conditioned(state.context)
    if not process.guidance or not bool(told.any()):
        return eps
    return torch.where(told[:, None, None], guide(eps, process.denoiser(*inputs), process.guidance), eps)


def advance(state: SamplerState, eps: Tensor, process: Process) -> SamplerState:
    """Propose a move for every atom, let the policy decide, treat those who pause; `eps` is ε̂ at the state."""
    attempt, prediction = _attempt(state, eps, process)
    length = VELOCITIES[process.velocity].length(attempt)
    velocities = torch.cat([state.velocities[..., 1:], length[..., None]], dim=-1)
    advancing = process.policy.advance(_situation(state, velocities, process))
    paused = state.mask & (state.rungs > 0) & ~advancing
    held = follow(state.held, process.moves.predict(state.z, eps, state.rungs)) if state.held.shape[2] else state.held
    z, rungs = PAUSES[process.pause_mode](state, attempt.end, paused, process), state.rungs - advancing.long()
    kept = advancing[..., None] if process.remembers_moves_only else state.mask[..., None]
    return replace(
        state,
        z=process.gauge.place(z, process.grid[rungs], state.mask),
        rungs=rungs,
        velocities=torch.where(kept, velocities, state.velocities),
        prediction=torch.where(advancing[..., None], prediction, state.prediction),
        pauses=(state.pauses + 1) * paused,
        iterations=state.iterations + 1,
        held=held,
    )


def _attempt(state: SamplerState, eps: Tensor, process: Process) -> tuple[Attempt, Tensor]:
    """The move that every atom would make, and the x̂ to remember if it is taken."""
    moves, rungs = process.moves, state.rungs
    eps = process.gauge.seen(eps, process.grid[rungs], state.mask)
    change, prediction = torch.zeros_like(eps), state.prediction
    if moves.multistep or process.velocity == "x0":
        change, prediction = _change(state, eps, process)
    if moves.multistep:
        eps = moves.extrapolate(eps, change, rungs)
    mean = moves.down(state.z, eps, rungs)
    end = _with_noise(mean, state, process) if moves.stochastic else mean
    return Attempt(state.z, mean, end, change), prediction


def _change(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """By how much x̂ has changed since the rung above, and x̂.

    However often an atom has paused here, the change belongs to one step of log SNR. It is centred, because re-centring
    unequal levels moves the frame; atoms still at the top have no part in it.
    """
    prediction = process.moves.predict(state.z, eps, state.rungs)
    below_top = state.mask & (state.rungs < len(process.grid) - 1)
    return centre_state(prediction - state.prediction, below_top), prediction


def _with_noise(mean: Tensor, state: SamplerState, process: Process) -> Tensor:
    """A draw of the move: the mean, each atom's own noise, and in the y-gauge that of the translation."""
    end = process.moves.scatter(mean, state.rungs, _noise(state, Stream.STEP, process))
    if not isinstance(process.gauge, YGauge):
        return end
    below = process.grid[(state.rungs - 1).clamp_min(0)]
    normals = normal(state.seeds, state.ids, state.iterations, Stream.SHIFT, (1, 3), end.dtype)[:, 0]
    shift = process.gauge.shift(normals, process.grid[state.rungs], below, state.mask)
    return torch.cat([end[..., :3] + shift, end[..., 3:]], dim=-1)


def _repeat(state: SamplerState, proposal: Tensor, paused: Tensor, process: Process) -> Tensor:
    """A paused atom takes the move but not the lower level: it is denoised there again."""
    return proposal


def _renoise(state: SamplerState, proposal: Tensor, paused: Tensor, process: Process) -> Tensor:
    """A paused atom takes the move and is brought back up to its level."""
    lifted = process.moves.up(proposal, state.rungs, _noise(state, Stream.RENOISE, process))
    return torch.where(paused[..., None], lifted, proposal)


def _hold(state: SamplerState, proposal: Tensor, paused: Tensor, process: Process) -> Tensor:
    """A paused atom stays as it is."""
    return torch.where(paused[..., None], state.z, proposal)


PAUSES = {"repeat": _repeat, "renoise": _renoise, "hold": _hold}


def trajectory(state: SamplerState, process: Process) -> Iterator[SamplerState]:
    """The states after each iteration until every atom of the batch is clean."""
    while bool((state.rungs > 0).any()):
        state = step(state, process)
        yield state


def decode(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """Positions [B, N, 3] in Å and noisy features [B, N, F] of clean molecules; `eps` is ε̂ at the state.

    Types are decoded from the features of z_0 itself, not from a prediction, as in EDM.
    """
    noise = normal(state.seeds, state.ids, 0, Stream.DECODE, (state.mask.shape[1], 3), state.z.dtype)
    return decode_positions(state.z, eps, noise, state.mask, process.schedule), state.z[..., 3:]


def _noise(state: SamplerState, stream: Stream, process: Process) -> Tensor:
    shape = (state.z.shape[1], state.z.shape[2])
    draws = normal(state.seeds, state.ids, state.iterations, stream, shape, state.z.dtype)
    return process.gauge.noise(draws, state.mask)


def _situation(state: SamplerState, velocities: Tensor, process: Process) -> Situation:
    """What the policy is told; a velocity without this move's noise counts whatever `decision` says."""
    own = process.decision == "own_noise" or not VELOCITIES[process.velocity].noisy
    earlier = len(process.grid) - 1 - state.rungs if process.remembers_moves_only else state.iterations[:, None]
    return Situation(
        seeds=state.seeds,
        ids=state.ids,
        rungs=state.rungs,
        mask=state.mask,
        velocities=velocities if own else state.velocities,
        remembered=(earlier + own).expand(state.rungs.shape),
        pauses=state.pauses,
        iterations=state.iterations,
    )
