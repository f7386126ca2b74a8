"""Where molecules stand between two iterations of the sampling loop.

Legend: B molecules, N padded atoms, F features, W remembered velocities (latest last).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.common.noise import Stream, normal
from ead_core.data.tensors import centre_state
from ead_core.diffusion.process import Process

HISTORY = 10  # velocities kept, enough for every window that is swept
# What of a state has no dimension of atoms.
PER_MOLECULE = {
    "seeds",
    "ids",
    "iterations",
    "rounds",
    "rounds_here",
    "restarts",
    "calls",
    "context",
    "composition",
    "wanted",
}


@dataclass(frozen=True)
class SamplerState:
    """Where a batch stands between two iterations.

    Attributes:
        seeds, ids: [B] each molecule's seed and id, together the key of its noise.
        mask: [B, N] real atoms.
        z: [B, N, 3 + F].
        grid_index: [B, N] position on the grid, 0 = clean.
        velocities: [B, N, W].
        prediction: [B, N, 3 + F] x̂ from which each atom left the grid step above (multistep solvers; else 0); not a
            number where a restart has brought it.
        estimate: [B, N, 3 + F] x̂ of the last network call, which a self-conditioned network is given; zero before the
            first one and after a restart, and [B, N, 0] for other networks.
        pauses: [B, N] consecutive pauses.
        iterations: [B] iterations made so far.
        rounds: [B] how many of them were rounds of the corrector.
        rounds_here: [B] how many of these since the highest atom came to its step of the grid.
        restarts: [B] how often they have gone back up (restarts.py).
        calls: [B] network calls made so far; some iterations take two (guidance).
        context: [B, 2P] what the network is given of each molecule (context.py); P = 0 without conditions.
        composition: [B, K] atoms of each type that are asked for, `OPEN` where nothing is; K = 0 without formulas.
        wanted: [B, P] properties that are asked for, in units of their spreads, NaN where open; P = 0 without pulls.
        held: [B, N] clean atoms that are kept (fragments.py).
    """

    seeds: Tensor
    ids: Tensor
    mask: Tensor
    z: Tensor
    grid_index: Tensor
    velocities: Tensor
    prediction: Tensor
    estimate: Tensor
    pauses: Tensor
    iterations: Tensor
    rounds: Tensor
    rounds_here: Tensor
    restarts: Tensor
    calls: Tensor
    context: Tensor
    composition: Tensor
    wanted: Tensor
    held: Tensor

    def select(self, rows: Tensor) -> "SamplerState":
        """The molecules at `rows` (indices or a boolean mask)."""
        return SamplerState(**{name: tensor[rows] for name, tensor in vars(self).items()})

    def resize(self, width: int) -> "SamplerState":
        """The molecules padded to `width` atoms, at least as many as the largest of them has."""
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


def choose(rows: Tensor, there: SamplerState, elsewhere: SamplerState) -> SamplerState:
    """Molecules from one state where `rows` [B] is True, and from another where it is not."""
    other = vars(elsewhere)
    return SamplerState(
        **{
            name: torch.where(rows.view(-1, *(1,) * (tensor.dim() - 1)), tensor, other[name])
            for name, tensor in vars(there).items()
        }
    )


def initial_state(
    seeds: Tensor,
    ids: Tensor,
    mask: Tensor,
    channels: int,
    process: Process,
    dtype: torch.dtype = torch.float32,
    context: Tensor | None = None,
) -> SamplerState:
    """Molecules at the top of the grid, where z ~ N(0, I) in the zero-centre subspace; arguments as in the state.

    They are asked for nothing. Where the process begins below T, they are the Gaussian of its `start`.
    """
    noise = centre_state(normal(seeds, ids, 0, Stream.PRIOR, (mask.shape[1], channels), dtype), mask)
    return SamplerState(
        seeds=seeds,
        ids=ids,
        mask=mask,
        z=noise if process.start is None else process.start.place(noise, mask),
        prediction=torch.zeros_like(noise),
        estimate=torch.zeros_like(noise[..., : None if process.self_conditioning else 0]),
        grid_index=mask.long() * (len(process.grid) - 1),
        velocities=torch.zeros((*mask.shape, HISTORY), dtype=dtype, device=mask.device),
        pauses=torch.zeros_like(mask, dtype=torch.long),
        iterations=torch.zeros_like(ids),
        rounds=torch.zeros_like(ids),
        rounds_here=torch.zeros_like(ids),
        restarts=torch.zeros_like(ids),
        calls=torch.zeros_like(ids),
        context=torch.zeros((len(ids), 0), dtype=dtype, device=mask.device) if context is None else context.to(dtype),
        composition=ids.new_zeros(len(ids), 0),
        wanted=torch.zeros((len(ids), 0), dtype=dtype, device=mask.device),
        held=torch.zeros_like(mask),
    )
