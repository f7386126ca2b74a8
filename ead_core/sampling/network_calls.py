"""The network call and the second one of guidance, for one state or for several that share the calls.

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ead_core.common.noise import Stream, uniforms
from ead_core.diffusion.context import conditioned, guide
from ead_core.diffusion.process import Process
from ead_core.networks.inputs import DenoiserFunction, DenoiserInput
from ead_core.sampling.state import SamplerState

Part = tuple[SamplerState, Process]


def predict_noise(denoiser: DenoiserFunction, parts: Sequence[Part]) -> list[Tensor]:
    """ε̂ [B, N, 3 + F] of every part, from one network call, and a second one for the molecules that are guided.

    Args:
        denoiser: gives ε̂; one for all parts.
        parts: states of equal width, and how they move.
    """
    eps = _call(denoiser, parts, with_context=True)
    rows = [guided(*part).nonzero()[:, 0] if part[1].guidance else None for part in parts]
    second = [(number, chosen) for number, chosen in enumerate(rows) if chosen is not None and len(chosen)]
    if second:
        again = [(parts[number][0].select(chosen), parts[number][1]) for number, chosen in second]
        without = _call(denoiser, again, with_context=False)
        for (number, chosen), (state, process), free in zip(second, again, without, strict=True):
            scale = process.scale(process.grid[state.grid_index])
            eps[number] = eps[number].index_copy(0, chosen, guide(eps[number][chosen], free, scale))
    return eps


def guided(state: SamplerState, process: Process) -> Tensor:
    """Which molecules [B] take a second call at the state: with a condition, and an atom where guidance is at work."""
    if not process.guidance:
        return torch.zeros_like(state.ids, dtype=torch.bool)
    inside = process.scale(process.grid[state.grid_index])[..., 0] > 0
    return conditioned(state.context) & (inside & state.mask).any(dim=1)


def calls_after(state: SamplerState, process: Process) -> Tensor:
    """Network calls [B] of each molecule once ε̂ at the state is known."""
    return state.calls + 1 + guided(state, process)


def _call(denoiser: DenoiserFunction, parts: Sequence[Part], with_context: bool) -> list[Tensor]:
    """The answer for each part, with their context or with nothing known."""
    inputs = [_inputs(*part, with_context) for part in parts]
    joined = inputs[0] if len(inputs) == 1 else _join(inputs)
    return list(denoiser(joined).split([len(one.z) for one in inputs]))


def _inputs(state: SamplerState, process: Process, with_context: bool) -> DenoiserInput:
    draws = None
    if process.num_draws:
        iterations = torch.zeros_like(state.iterations) if process.same_draws else state.iterations
        draws = uniforms(state.seeds, state.ids, iterations, Stream.NETWORK, process.num_draws, state.z.dtype)
    context = state.context if with_context and state.context.shape[1] else None
    return DenoiserInput(state.z, process.grid[state.grid_index], state.mask, context, draws)


def _join(inputs: Sequence[DenoiserInput]) -> DenoiserInput:
    """One input for the molecules of several, of the same model."""
    return DenoiserInput(
        z=torch.cat([one.z for one in inputs]),
        levels=torch.cat([one.levels for one in inputs]),
        mask=torch.cat([one.mask for one in inputs]),
        context=_join_known([one.context for one in inputs]),
        draws=_join_known([one.draws for one in inputs]),
    )


def _join_known(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """All or none of them are None."""
    known = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(known) if known else None
