"""The network call and the second one of guidance, for one state or for several that share the calls.

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ead_core.common.noise import Stream, uniforms
from ead_core.diffusion.context import conditioned, guide
from ead_core.diffusion.process import Process
from ead_core.diffusion.pull import Pull
from ead_core.networks.inputs import DenoiserFunction, DenoiserInput
from ead_core.sampling.state import SamplerState

Part = tuple[SamplerState, Process]


def predict_noise(denoiser: DenoiserFunction, parts: Sequence[Part]) -> list[Tensor]:
    """ε̂ [B, N, 3 + F] of every part, from one network call, and a second one for the molecules that are guided.

    The call of those that are pulled to what is asked of them is followed back to its input.

    Args:
        denoiser: gives ε̂; one for all parts.
        parts: states of equal width, and how they move.
    """
    pulls = {number: found for number, part in enumerate(parts) if (found := _pulled(denoiser, *part))}
    eps = _without_pulls(denoiser, parts, pulls)
    rows = [guided(*part).nonzero()[:, 0] if part[1].guidance else None for part in parts]
    second = [(number, chosen) for number, chosen in enumerate(rows) if chosen is not None and len(chosen)]
    if second:
        again = [(parts[number][0].select(chosen), parts[number][1]) for number, chosen in second]
        without = _call(denoiser, again, with_context=False)
        for (number, chosen), (state, process), free in zip(second, again, without, strict=True):
            scale = process.scale(process.grid[state.grid_index])
            eps[number] = eps[number].index_copy(0, chosen, guide(eps[number][chosen], free, scale))
    for number, pull in pulls.items():
        eps[number] = eps[number].index_add(0, pull.rows, pull.change)
    return eps


def guided(state: SamplerState, process: Process) -> Tensor:
    """Which molecules [B] take a second call at the state: with a condition, and an atom where guidance is at work."""
    if not process.guidance:
        return torch.zeros_like(state.ids, dtype=torch.bool)
    inside = process.scale(process.grid[state.grid_index])[..., 0] > 0
    return conditioned(state.context) & (inside & state.mask).any(dim=1)


def acted_on(state: SamplerState, process: Process, pull: Pull) -> Tensor:
    """Which molecules [B] a pull acts on at the state, which takes a gradient."""
    levels, free = process.grid[state.grid_index], state.mask & ~state.held
    return pull.pulled(levels, free, getattr(state, pull.wish), process.schedule.steps)


def calls_after(state: SamplerState, process: Process) -> Tensor:
    """Network calls [B] of each molecule once ε̂ at the state is known."""
    gradients = sum(pull.calls * acted_on(state, process, pull) for pull in process.pulls)
    return state.calls + 1 + guided(state, process) + gradients


class _Pulled(NamedTuple):
    """Molecules that are pulled, P of the B of a part.

    Attributes:
        rows: [P] which they are.
        others: [B − P] which are not.
        eps: [P, N, 3 + F] their ε̂.
        change: of this shape, what comes to it in the end.
    """

    rows: Tensor
    others: Tensor
    eps: Tensor
    change: Tensor

    def joined(self, others: Tensor | None) -> Tensor:
        """ε̂ of the whole part, given that of the others, if there are any."""
        whole = self.eps.new_empty(len(self.rows) + len(self.others), *self.eps.shape[1:])
        whole[self.rows] = self.eps
        if others is not None:
            whole[self.others] = others
        return whole


def _pulled(denoiser: DenoiserFunction, state: SamplerState, process: Process) -> _Pulled | None:
    """Which molecules are pulled, and how; None if there are none."""
    found = [(pull, chosen) for pull in process.pulls if bool((chosen := acted_on(state, process, pull)).any())]
    if not found:
        return None
    acting, chosen = [pull for pull, _ in found], torch.stack([chosen for _, chosen in found]).any(dim=0)
    rows, others = chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0]
    at_once = min(pull.at_once for pull in acting)
    made = [_changes(denoiser, state.select(some), process, acting) for some in rows.split(at_once)]
    eps, change = (torch.cat(parts) for parts in zip(*made, strict=True))
    return _Pulled(rows, others, eps, change)


def _changes(
    denoiser: DenoiserFunction, state: SamplerState, process: Process, pulls: Sequence[Pull]
) -> tuple[Tensor, Tensor]:
    """ε̂, and what the pulls add to it."""
    with torch.inference_mode(False), torch.enable_grad():
        state = SamplerState(**{name: tensor.clone() for name, tensor in vars(state).items()})  # as autograd needs them
        state = replace(state, z=state.z.requires_grad_())
        eps = denoiser(_inputs(state, process, with_context=True))
        predicted = process.moves.predict(state.z, eps, state.grid_index)
        chances = [pull.log_probability(predicted, state.mask, getattr(state, pull.wish)).sum() for pull in pulls]
        gradients = [torch.autograd.grad(chance, state.z, retain_graph=True)[0] for chance in chances]
    levels, free = process.grid[state.grid_index], state.mask & ~state.held
    sigma = process.schedule.sigma(levels)[..., None].to(eps.dtype)
    change = torch.zeros_like(eps)
    for pull, gradient in zip(pulls, gradients, strict=True):
        wish = getattr(state, pull.wish)
        change = change - pull.noise(gradient, sigma, levels, free, wish, process.schedule.steps)
    return eps.detach(), change.detach()


def _without_pulls(denoiser: DenoiserFunction, parts: Sequence[Part], pulls: Mapping[int, _Pulled]) -> list[Tensor]:
    """ε̂ of every part from one network call, which those that are pulled need not make again."""
    others = [
        (state.select(pulls[number].others), process) if number in pulls else (state, process)
        for number, (state, process) in enumerate(parts)
    ]
    left = [number for number, (state, _) in enumerate(others) if len(state.ids)]
    called = _call(denoiser, [others[number] for number in left], with_context=True) if left else []
    eps = dict(zip(left, called, strict=True))
    return [pulls[number].joined(eps.get(number)) if number in pulls else eps[number] for number in range(len(parts))]


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
    estimate = state.estimate if process.self_conditioning else None
    return DenoiserInput(state.z, process.grid[state.grid_index], state.mask, context, draws, estimate)


def _join(inputs: Sequence[DenoiserInput]) -> DenoiserInput:
    """One input for the molecules of several, of the same model."""
    return DenoiserInput(
        z=torch.cat([one.z for one in inputs]),
        levels=torch.cat([one.levels for one in inputs]),
        mask=torch.cat([one.mask for one in inputs]),
        context=_join_known([one.context for one in inputs]),
        draws=_join_known([one.draws for one in inputs]),
        estimate=_join_known([one.estimate for one in inputs]),
    )


def _join_known(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """All or none of them are None."""
    known = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(known) if known else None
