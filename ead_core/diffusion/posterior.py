"""Moves along the sampling grid, atom by atom: down with a solver, back up, and out of noise (EAD eqs 6–8; z-gauge).

With unequal levels the zero-centre subspace is only approximately preserved by per-atom moves; the caller
re-centres after every update. For spreads far below T the error is 10⁻⁵ and smaller.

Legend: B molecules, N padded atoms, F features, R steps of the grid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.diffusion.schedule import Coefficients, NoiseSchedule


@dataclass(frozen=True)
class Solver:
    """How a move is made.

    Attributes:
        move: exact if x̂ did not change on the way: drawn from the posterior, or the map along the probability flow.
        multistep: x̂ is extrapolated on the way, linearly in log SNR, from its change since the level above.
        stays: all steps but the last are made at the top, so that they improve the estimate alone.
        iterates: its x̂ is meant to come from a network that is given its last one.
        forgets: a move keeps nothing of z but x̂.
    """

    move: Callable[[NoiseSchedule, Tensor, Tensor], Coefficients]
    multistep: bool = False
    stays: bool = False
    iterates: bool = False
    forgets: bool = False


SOLVERS = {
    "ancestral": Solver(NoiseSchedule.reverse),
    "ddim": Solver(NoiseSchedule.transport),
    "dpmpp_2m": Solver(NoiseSchedule.transport, multistep=True),
    "dpmpp_2m_sde": Solver(NoiseSchedule.reverse, multistep=True),
    "direct": Solver(NoiseSchedule.transport, stays=True, iterates=True),
    "rtk_mean": Solver(NoiseSchedule.transport, iterates=True),
    "rtk_renoise": Solver(NoiseSchedule.renoise, forgets=True),
}


class Moves:
    """The coefficients of every move from a step of the grid to the one below, computed once.

    At step 0 the move is the identity, so that clean atoms stay. The first move, from the top, is of first order.

    Args:
        schedule: α and σ.
        grid: [R + 1] strictly ascending levels.
        solver: a value of `SOLVERS`; the multistep ones are DPM-Solver++(2M) and its form with noise (Lu et al.
            2022, arXiv 2211.01095): the move of first order with x̂ extrapolated half a step ahead in its place.
    """

    def __init__(self, schedule: NoiseSchedule, grid: Tensor, solver: Solver = SOLVERS["ancestral"]) -> None:
        below = torch.cat([grid[:1], grid[:-1]])
        move = solver.move(schedule, grid, below)
        alpha, sigma = schedule.alpha(grid), schedule.sigma(grid)
        self._down = torch.stack([move.mean_z, move.mean_eps, move.noise], dim=-1)
        self._up = torch.stack([move.alpha_step, move.sigma_step], dim=-1)
        self._clean = torch.stack([1 / alpha, sigma / alpha], dim=-1)
        self._bend = alpha / sigma * _half_step_weights(schedule.gamma(grid))
        self.stochastic = bool((move.noise > 0).any())
        self.multistep = solver.multistep

    def down(self, z: Tensor, eps: Tensor, grid_index: Tensor) -> tuple[Tensor, Tensor]:
        """Where z is one grid step further down: by q(z_s | z_t, x̂) per atom, or by the solver's map.

        Args:
            z: state [B, N, 3 + F] at `grid_index` [B, N].
            eps: predicted noise ε̂ of the same shape.
            grid_index: of each atom.

        Returns:
            The mean, of the shape of `z`, and the standard deviation around it [B, N, 1].
        """
        mean_z, mean_eps, spread = self._down[grid_index].to(z.dtype)[..., None].unbind(dim=-2)
        return mean_z * z - mean_eps * eps, spread

    def predict(self, z: Tensor, eps: Tensor, grid_index: Tensor) -> Tensor:
        """x̂ [B, N, 3 + F] = (z − σ ε̂) / α; arguments as in `down`."""
        gain_z, gain_eps = self._clean[grid_index].to(z.dtype)[..., None].unbind(dim=-2)
        return gain_z * z - gain_eps * eps

    def extrapolate(self, eps: Tensor, change: Tensor, grid_index: Tensor) -> Tensor:
        """ε̂ that stands for x̂ half a step ahead, given its `change` [B, N, 3 + F] since the grid step above."""
        return eps - self._bend[grid_index].to(eps.dtype)[..., None] * change

    def up(self, z: Tensor, grid_index: Tensor, noise: Tensor) -> Tensor:
        """Take z, which stands one grid step below `grid_index`, back up: z_t = α_{t|s} z + σ_{t|s} ξ."""
        alpha, sigma = self._up[grid_index].to(z.dtype)[..., None].unbind(dim=-2)
        return alpha * z + sigma * noise


def _half_step_weights(gamma: Tensor) -> Tensor:
    """h / 2h' [R + 1] for log SNR steps h to the level below and h' from that above; 0 where one is missing."""
    steps = gamma.diff()
    weights = torch.zeros_like(gamma)
    weights[1:-1] = steps[:-1] / (2 * steps[1:])
    return weights


def decode_positions(z: Tensor, eps: Tensor, noise: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Coordinates [B, N, 3] from the state at level 0: x̂(z_0) + (σ_0/α_0)·ξ, as EDM decodes, up to a translation.

    Args:
        z: state at level 0.
        eps: predicted noise at `z`.
        noise: standard normals [B, N, 3].
        schedule: α and σ.
    """
    zero = torch.zeros(1, dtype=torch.long, device=z.device)
    alpha, sigma = schedule.alpha(zero).to(z.dtype), schedule.sigma(zero).to(z.dtype)
    return (z[..., :3] - sigma * eps[..., :3] + sigma * noise) / alpha
