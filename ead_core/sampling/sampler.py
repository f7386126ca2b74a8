"""The one sampling loop (EAD Algorithm 2): denoiser, schedule, policy and posterior meet here and nowhere else.

A run is a generator of immutable states, so progress bars, traces, and branching from a stored state are the
caller's business. All noise is keyed by (seed, molecule id, iteration).

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ead_core.common.noise import Stream, normal
from ead_core.diffusion.corrector import Corrector
from ead_core.diffusion.formula import with_composition
from ead_core.diffusion.gauge import Draw, Gauge
from ead_core.diffusion.policy import PolicyState
from ead_core.diffusion.posterior import decode_positions
from ead_core.diffusion.process import Process
from ead_core.diffusion.restarts import Restarts
from ead_core.diffusion.velocity import Attempt
from ead_core.sampling.network_calls import calls_after, predict_noise
from ead_core.sampling.state import SamplerState, choose


def step(state: SamplerState, process: Process) -> SamplerState:
    """One iteration: a network call (two where there is guidance), and the move that it allows."""
    return advance(state, predict(state, process), process)


def predict(state: SamplerState, process: Process) -> Tensor:
    """ε̂ [B, N, 3 + F] at the state: one network call, and another if a molecule is guided there."""
    return predict_noise(process.denoiser, [(state, process)])[0]


def advance(state: SamplerState, eps: Tensor, process: Process) -> SamplerState:
    """Propose a move for every atom, and take it by policy or use it for a round of the corrector or before a restart.

    Args:
        state: where molecules stand.
        eps: ε̂ at the state.
        process: how they move.
    """
    gauge = process.gauge(state.held)
    eps = gauge.project_noise(eps, process.grid[state.grid_index], state.mask)
    if process.self_conditioning:
        prediction = process.moves.predict(state.z, eps, state.grid_index)
        state = replace(state, estimate=gauge.centred(prediction, state.mask))
    eps = _scaled(state, eps, process, gauge)
    after = _moved(state, eps, process, gauge)
    if process.corrector is not None:
        corrected = _corrected(state, eps, process, process.corrector, gauge)
        after = choose(_due(state, process), corrected, after)
    if process.restarts is not None and process.restart_steps is not None:
        due = _with_wrong_elements(state, eps, after, process, process.restarts, process.restart_steps[0])
        after = choose(due, _restarted(after, process, process.restart_steps[1]), after)
    return after


def _scaled(state: SamplerState, eps: Tensor, process: Process, gauge: Gauge) -> Tensor:
    """ε̂ at the temperature of the process, without what cannot be known of it."""
    if process.factors is None:
        return eps
    levels = process.grid[state.grid_index]
    return gauge.project_noise(process.factors[state.grid_index][..., None].to(eps.dtype) * eps, levels, state.mask)


def _moved(state: SamplerState, eps: Tensor, process: Process, gauge: Gauge) -> SamplerState:
    """Let the policy decide who moves, and treat those who pause."""
    attempt, prediction = _attempt(state, eps, process, gauge)
    length = process.velocity.length(attempt)
    velocities = torch.cat([state.velocities[..., 1:], length[..., None]], dim=-1)
    advancing = process.policy.advance(_policy_state(state, velocities, process))
    paused = state.mask & (state.grid_index > 0) & ~advancing
    z = process.pause.apply(state.z, attempt.end, paused, partial(_lift, state, process, gauge, Stream.RENOISE))
    grid_index = state.grid_index - advancing.long()
    kept = advancing[..., None] if process.remembers_moves_only else state.mask[..., None]
    return replace(
        state,
        z=gauge.project_state(z, process.grid[grid_index], state.mask),
        grid_index=grid_index,
        velocities=torch.where(kept, velocities, state.velocities),
        prediction=torch.where(advancing[..., None], prediction, state.prediction),
        pauses=(state.pauses + 1) * paused,
        iterations=state.iterations + 1,
        rounds_here=state.rounds_here * (grid_index.amax(dim=1) == state.grid_index.amax(dim=1)),
        calls=calls_after(state, process),
    )


def _due(state: SamplerState, process: Process) -> Tensor:
    """Which molecules [B] make a round now: not all that are planned for the step of their highest atom are made."""
    return state.rounds_here < process.rounds[state.grid_index.amax(dim=1)]


def _corrected(state: SamplerState, eps: Tensor, process: Process, corrector: Corrector, gauge: Gauge) -> SamplerState:
    """A round of the corrector: levels, memory and pauses stay.

    Its move is of first order: x̂ has changed since the grid step above by the noise of the rounds, too, and to
    extrapolate that would add up to more variance with every round.
    """
    levels = process.grid[state.grid_index]
    _, end = _down(state, eps, process, gauge)
    part = corrector.atoms(levels, process.schedule.steps)
    z = corrector.corrected(state.z, end, part, partial(_lift, state, process, gauge, Stream.CORRECTOR))
    return replace(
        state,
        z=gauge.project_state(z, levels, state.mask),
        iterations=state.iterations + 1,
        rounds=state.rounds + 1,
        rounds_here=state.rounds_here + 1,
        calls=calls_after(state, process),
    )


def _with_wrong_elements(
    before: SamplerState, eps: Tensor, after: SamplerState, process: Process, restarts: Restarts, low: int
) -> Tensor:
    """Which molecules [B] go back up: they have just come down to the step `low`, and x̂ has the wrong elements."""
    arrived = (before.grid_index.amax(dim=1) > low) & (after.grid_index.amax(dim=1) <= low)
    features = process.moves.predict(before.z, eps, before.grid_index)[..., 3:]
    return arrived & restarts.due(features, after.mask, after.composition, after.restarts)


def _restarted(state: SamplerState, process: Process, high: int) -> SamplerState:
    """All molecules noised to the step `high`, but for what is held; the noise is that of the coming iteration."""
    gauge, grid_index = process.gauge(state.held), (state.mask & ~state.held).long() * high
    levels = process.grid[grid_index]
    way = process.schedule.reverse(levels, process.grid[state.grid_index])
    noise = gauge.noise(_draw(state)(Stream.RESTART, (state.z.shape[1], state.z.shape[2])), state.mask)
    alpha, sigma = (part.to(noise.dtype)[..., None] for part in (way.alpha_step, way.sigma_step))
    return replace(
        state,
        z=gauge.project_state(alpha * state.z + sigma * noise, levels, state.mask),
        grid_index=grid_index,
        prediction=torch.full_like(state.prediction, torch.nan),
        estimate=torch.zeros_like(state.estimate),
        pauses=torch.zeros_like(state.pauses),
        rounds_here=torch.zeros_like(state.rounds_here),
        restarts=state.restarts + 1,
    )


def _attempt(state: SamplerState, eps: Tensor, process: Process, gauge: Gauge) -> tuple[Attempt, Tensor]:
    """The move that every atom would make, and the x̂ to remember if it is taken."""
    change, prediction = torch.zeros_like(eps), state.prediction
    if process.moves.multistep or process.velocity.of_prediction:
        change, prediction = _change(state, eps, process, gauge)
    if process.moves.multistep:
        eps = process.moves.extrapolate(eps, change, state.grid_index)
    mean, end = _down(state, eps, process, gauge)
    return Attempt(state.z, mean, end, change), prediction


def _down(state: SamplerState, eps: Tensor, process: Process, gauge: Gauge) -> tuple[Tensor, Tensor]:
    """Where a move by ε̂ leads, without and with its noise."""
    grid_index = state.grid_index
    mean, spread = process.moves.down(state.z, eps, grid_index)
    if not process.moves.stochastic:
        return mean, mean
    levels, below = process.grid[grid_index], process.grid[(grid_index - 1).clamp_min(0)]
    return mean, gauge.noise_step(mean, spread, _draw(state), levels, below, state.mask)


def _change(state: SamplerState, eps: Tensor, process: Process, gauge: Gauge) -> tuple[Tensor, Tensor]:
    """By how much x̂ has changed since the grid step above, and x̂.

    However often an atom has paused here, the change belongs to one step of log SNR. It is centred where the frame is,
    because re-centring unequal levels moves it; atoms at the top or just restarted come from no step above.
    """
    prediction = process.moves.predict(state.z, eps, state.grid_index)
    from_above = state.mask & (state.grid_index < len(process.grid) - 1) & ~state.prediction[..., 0].isnan()
    change = torch.where(from_above[..., None], prediction - state.prediction, 0.0)
    return gauge.centred(change, from_above), prediction


def _lift(state: SamplerState, process: Process, gauge: Gauge, stream: Stream, end: Tensor) -> Tensor:
    """The end of the move brought back up to the levels of the state, with noise of its own."""
    noise = gauge.noise(_draw(state)(stream, (end.shape[1], end.shape[2])), state.mask)
    return process.moves.up(end, state.grid_index, noise)


def _draw(state: SamplerState) -> Draw:
    """Standard normals of this iteration, by stream and shape."""
    return lambda stream, shape: normal(state.seeds, state.ids, state.iterations, stream, shape, state.z.dtype)


def trajectory(state: SamplerState, process: Process) -> Iterator[SamplerState]:
    """The states after each iteration until every atom of the batch is clean."""
    while bool((state.grid_index > 0).any()):
        state = step(state, process)
        yield state


def foresee(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """What is predicted of the clean molecules, x̂, as positions [B, N, 3] in Å and features [B, N, F].

    Args:
        state: where molecules stand.
        eps: ε̂ at the state.
        process: how they move.
    """
    eps = process.gauge(state.held).project_noise(eps, process.grid[state.grid_index], state.mask)
    prediction = process.moves.predict(state.z, eps, state.grid_index)
    return prediction[..., :3], prediction[..., 3:]


def decode(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """Positions [B, N, 3] in Å and noisy features [B, N, F] of clean molecules; `eps` is ε̂ at the state.

    Types are decoded from the features of z_0 itself, not from a prediction, as in EDM; those of a molecule that is
    asked for a composition have it in any case.
    """
    gauge = process.gauge(state.held)
    noise = normal(state.seeds, state.ids, 0, Stream.DECODE, (state.mask.shape[1], 3), state.z.dtype)
    eps, noise = gauge.project_noise(eps, process.grid[state.grid_index], state.mask), noise * ~state.held[..., None]
    positions = gauge.centred(decode_positions(state.z, eps, noise, process.schedule), state.mask)
    features = state.z[..., 3:]
    if state.composition.shape[1]:
        features = with_composition(features, state.mask, state.held, state.composition)
    return positions, features


def _policy_state(state: SamplerState, velocities: Tensor, process: Process) -> PolicyState:
    """What the policy gets to see; a velocity without this move's noise counts whatever `decision` says."""
    own = process.own_noise or not process.velocity.noisy
    iterations = state.iterations - state.rounds
    earlier = len(process.grid) - 1 - state.grid_index if process.remembers_moves_only else iterations[:, None]
    return PolicyState(
        seeds=state.seeds,
        ids=state.ids,
        grid_index=state.grid_index,
        mask=state.mask & ~state.held,
        velocities=velocities if own else state.velocities,
        remembered=(earlier + own).expand(state.grid_index.shape),
        pauses=state.pauses,
        iterations=iterations,
        grid=process.grid,
    )
