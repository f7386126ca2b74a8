"""The one sampling loop (EAD Algorithm 2): denoiser, schedule, policy and posterior meet here and nowhere else.

A run is a generator of immutable states, so progress bars, traces, and branching from a stored state are the
caller's business. All noise is keyed by (seed, molecule id, iteration).

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ead_core.common.noise import Stream, normal
from ead_core.diffusion.context import conditioned, guide
from ead_core.diffusion.gauge import YGauge
from ead_core.diffusion.policy import PolicyState
from ead_core.diffusion.posterior import decode_positions
from ead_core.diffusion.process import Process
from ead_core.diffusion.velocity import VELOCITIES, Attempt
from ead_core.sampling.state import SamplerState


def step(state: SamplerState, process: Process) -> SamplerState:
    """One iteration: a network call (two where there is guidance), and the move that it allows."""
    return advance(state, predict(state, process), process)


def predict(state: SamplerState, process: Process) -> Tensor:
    """ε̂ [B, N, 3 + F] at the state: one network call, and another if a molecule is guided there."""
    inputs = state.z, process.grid[state.grid_index], state.mask
    if not state.context.shape[1]:
        return process.denoiser(*inputs)
    eps, second = process.denoiser(*inputs, state.context), guided(state, process)
    if not bool(second.any()):
        return eps
    return torch.where(second[:, None, None], guide(eps, process.denoiser(*inputs), process.scale(inputs[1])), eps)


def guided(state: SamplerState, process: Process) -> Tensor:
    """Which molecules [B] take a second call at the state: with a condition, and an atom where guidance is at work."""
    if not process.guidance:
        return torch.zeros_like(state.ids, dtype=torch.bool)
    inside = process.scale(process.grid[state.grid_index])[..., 0] > 0
    return conditioned(state.context) & (inside & state.mask).any(dim=1)


def calls_after(state: SamplerState, process: Process) -> Tensor:
    """Network calls [B] of each molecule once ε̂ at the state is known."""
    return state.calls + 1 + guided(state, process)


def advance(state: SamplerState, eps: Tensor, process: Process) -> SamplerState:
    """Propose a move for every atom, let the policy decide, treat those who pause; `eps` is ε̂ at the state."""
    attempt, prediction = _attempt(state, eps, process)
    length = VELOCITIES[process.velocity].length(attempt)
    velocities = torch.cat([state.velocities[..., 1:], length[..., None]], dim=-1)
    advancing = process.policy.advance(_policy_state(state, velocities, process))
    paused = state.mask & (state.grid_index > 0) & ~advancing
    z, grid_index = PAUSES[process.pause_mode](state, attempt.end, paused, process), state.grid_index - advancing.long()
    kept = advancing[..., None] if process.remembers_moves_only else state.mask[..., None]
    return replace(
        state,
        z=process.gauge(state.held).project_state(z, process.grid[grid_index], state.mask),
        grid_index=grid_index,
        velocities=torch.where(kept, velocities, state.velocities),
        prediction=torch.where(advancing[..., None], prediction, state.prediction),
        pauses=(state.pauses + 1) * paused,
        iterations=state.iterations + 1,
        calls=calls_after(state, process),
    )


def _attempt(state: SamplerState, eps: Tensor, process: Process) -> tuple[Attempt, Tensor]:
    """The move that every atom would make, and the x̂ to remember if it is taken."""
    moves, grid_index = process.moves, state.grid_index
    eps = process.gauge(state.held).project_noise(eps, process.grid[grid_index], state.mask)
    change, prediction = torch.zeros_like(eps), state.prediction
    if moves.multistep or process.velocity == "x0":
        change, prediction = _change(state, eps, process)
    if moves.multistep:
        eps = moves.extrapolate(eps, change, grid_index)
    mean, spread = moves.down(state.z, eps, grid_index)
    end = _with_noise(mean, spread, state, process) if moves.stochastic else mean
    return Attempt(state.z, mean, end, change), prediction


def _change(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """By how much x̂ has changed since the grid step above, and x̂.

    However often an atom has paused here, the change belongs to one step of log SNR. It is centred where the frame is,
    because re-centring unequal levels moves it; atoms still at the top have no part in it.
    """
    prediction = process.moves.predict(state.z, eps, state.grid_index)
    below_top = state.mask & (state.grid_index < len(process.grid) - 1)
    return process.gauge(state.held).centred(prediction - state.prediction, below_top), prediction


def _with_noise(mean: Tensor, spread: Tensor, state: SamplerState, process: Process) -> Tensor:
    """A draw of the move: the mean, each atom's own noise, and in the y-gauge that of the translation."""
    end = mean + spread * _noise(state, Stream.STEP, process)
    gauge = process.gauge(state.held)
    if not isinstance(gauge, YGauge):
        return end
    below = process.grid[(state.grid_index - 1).clamp_min(0)]
    normals = normal(state.seeds, state.ids, state.iterations, Stream.SHIFT, (1, 3), end.dtype)[:, 0]
    shift = gauge.shift(normals, process.grid[state.grid_index], below, state.mask)
    return torch.cat([end[..., :3] + shift, end[..., 3:]], dim=-1)


def _repeat(state: SamplerState, proposal: Tensor, paused: Tensor, process: Process) -> Tensor:
    """A paused atom takes the move but not the lower level: it is denoised there again."""
    return proposal


def _renoise(state: SamplerState, proposal: Tensor, paused: Tensor, process: Process) -> Tensor:
    """A paused atom takes the move and is brought back up to its level."""
    lifted = process.moves.up(proposal, state.grid_index, _noise(state, Stream.RENOISE, process))
    return torch.where(paused[..., None], lifted, proposal)


def _hold(state: SamplerState, proposal: Tensor, paused: Tensor, process: Process) -> Tensor:
    """A paused atom stays as it is."""
    return torch.where(paused[..., None], state.z, proposal)


PAUSES = {"repeat": _repeat, "renoise": _renoise, "hold": _hold}


def trajectory(state: SamplerState, process: Process) -> Iterator[SamplerState]:
    """The states after each iteration until every atom of the batch is clean."""
    while bool((state.grid_index > 0).any()):
        state = step(state, process)
        yield state


def decode(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """Positions [B, N, 3] in Å and noisy features [B, N, F] of clean molecules; `eps` is ε̂ at the state.

    Types are decoded from the features of z_0 itself, not from a prediction, as in EDM.
    """
    gauge = process.gauge(state.held)
    noise = normal(state.seeds, state.ids, 0, Stream.DECODE, (state.mask.shape[1], 3), state.z.dtype)
    eps, noise = gauge.project_noise(eps, process.grid[state.grid_index], state.mask), noise * ~state.held[..., None]
    return gauge.centred(decode_positions(state.z, eps, noise, process.schedule), state.mask), state.z[..., 3:]


def _noise(state: SamplerState, stream: Stream, process: Process) -> Tensor:
    shape = (state.z.shape[1], state.z.shape[2])
    draws = normal(state.seeds, state.ids, state.iterations, stream, shape, state.z.dtype)
    return process.gauge(state.held).noise(draws, state.mask)


def _policy_state(state: SamplerState, velocities: Tensor, process: Process) -> PolicyState:
    """What the policy is told; a velocity without this move's noise counts whatever `decision` says."""
    own = process.decision == "own_noise" or not VELOCITIES[process.velocity].noisy
    earlier = len(process.grid) - 1 - state.grid_index if process.remembers_moves_only else state.iterations[:, None]
    return PolicyState(
        seeds=state.seeds,
        ids=state.ids,
        grid_index=state.grid_index,
        mask=state.mask & ~state.held,
        velocities=velocities if own else state.velocities,
        remembered=(earlier + own).expand(state.grid_index.shape),
        pauses=state.pauses,
        iterations=state.iterations,
    )
