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

from ead_core.diffusion.policy import Policy, Situation
from ead_core.diffusion.posterior import Moves, decode_positions
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.molecules import centre_state
from ead_core.noise import Stream, normal
from ead_core.precision import DenoiserFunction

HISTORY = 10  # velocities kept, enough for every window that is swept


@dataclass(frozen=True)
class Process:
    """Everything that stays constant during a run.

    Attributes:
        denoiser: ε̂ from (z, levels, mask).
        schedule: α and σ of every level.
        grid: levels of the sampling grid in strictly ascending order, grid[0] = 0, grid[-1] = T.
        policy: who moves.
        pause_mode: what happens to an atom that does not (`repeat`, `renoise` or `hold`).
        decision: whether the velocity of the move under decision counts (`own_noise`) or not (`previous`).
        solver: how a move is made (a key of `SOLVERS`).
    """

    denoiser: DenoiserFunction
    schedule: NoiseSchedule
    grid: Tensor
    policy: Policy
    pause_mode: str
    decision: str
    solver: str = "ancestral"

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
        iterations: [B] network calls made so far.
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

    def select(self, rows: Tensor) -> "SamplerState":
        """The molecules at `rows` (indices or a boolean mask)."""
        return SamplerState(**{name: tensor[rows] for name, tensor in vars(self).items()})

    def resize(self, width: int) -> "SamplerState":
        """The same molecules padded to `width` atoms, at least as many as the largest of them has."""
        return SamplerState(**{name: _padded(tensor, width) for name, tensor in vars(self).items()})


def _padded(tensor: Tensor, width: int) -> Tensor:
    """A per-atom tensor [B, N, …] with zeros added or columns taken away; what is per molecule [B] stays."""
    if tensor.dim() == 1 or tensor.shape[1] == width:
        return tensor
    return torch.nn.functional.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, width - tensor.shape[1]))


def join(groups: Sequence[SamplerState]) -> SamplerState:
    """Molecules of several groups of equal width as one state, whatever stage they are at."""
    return SamplerState(**{name: torch.cat([vars(group)[name] for group in groups]) for name in vars(groups[0])})


def initial_state(
    seeds: Tensor, ids: Tensor, mask: Tensor, channels: int, process: Process, dtype: torch.dtype = torch.float32
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
    )


def step(state: SamplerState, process: Process) -> SamplerState:
    """One iteration: a network call, and the move that it allows."""
    return advance(state, predict(state, process), process)


def predict(state: SamplerState, process: Process) -> Tensor:
    """ε̂ [B, N, 3 + F] at the state: one network call."""
    return process.denoiser(state.z, process.grid[state.rungs], state.mask)


def advance(state: SamplerState, eps: Tensor, process: Process) -> SamplerState:
    """Propose a move for every atom, let the policy decide, treat those who pause; `eps` is ε̂ at the state."""
    moves = process.moves
    noise = _noise(state, Stream.STEP) if moves.stochastic else None
    eps, prediction = _second_order(state, eps, process) if moves.multistep else (eps, state.prediction)
    proposal = moves.down(state.z, eps, state.rungs, noise)
    velocity = (proposal - state.z).norm(dim=-1)
    velocities = torch.cat([state.velocities[..., 1:], velocity[..., None]], dim=-1)
    advancing = process.policy.advance(_situation(state, velocities, process.decision))
    paused = state.mask & (state.rungs > 0) & ~advancing
    z = PAUSES[process.pause_mode](state, proposal, paused, moves)
    return replace(
        state,
        z=centre_state(z, state.mask),
        rungs=state.rungs - advancing.long(),
        velocities=velocities,
        prediction=torch.where(advancing[..., None], prediction, state.prediction),
        pauses=(state.pauses + 1) * paused,
        iterations=state.iterations + 1,
    )


def _second_order(state: SamplerState, eps: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """ε̂ for the move, and the x̂ to remember if it is taken.

    The change of x̂ is that since the rung above, however often the atom has paused here, so that it always belongs
    to one step of log SNR. It is centred, because re-centring unequal levels moves the frame; atoms still at the top
    have no part in it.
    """
    prediction = process.moves.predict(state.z, eps, state.rungs)
    below_top = state.mask & (state.rungs < len(process.grid) - 1)
    change = centre_state(prediction - state.prediction, below_top)
    return process.moves.extrapolate(eps, change, state.rungs), prediction


def _repeat(state: SamplerState, proposal: Tensor, paused: Tensor, moves: Moves) -> Tensor:
    """A paused atom takes the move but not the lower level: it is denoised there again."""
    return proposal


def _renoise(state: SamplerState, proposal: Tensor, paused: Tensor, moves: Moves) -> Tensor:
    """A paused atom takes the move and is brought back up to its level."""
    lifted = moves.up(proposal, state.rungs, _noise(state, Stream.RENOISE))
    return torch.where(paused[..., None], lifted, proposal)


def _hold(state: SamplerState, proposal: Tensor, paused: Tensor, moves: Moves) -> Tensor:
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


def _noise(state: SamplerState, stream: Stream) -> Tensor:
    shape = (state.z.shape[1], state.z.shape[2])
    draws = normal(state.seeds, state.ids, state.iterations, stream, shape, state.z.dtype)
    return centre_state(draws, state.mask)


def _situation(state: SamplerState, velocities: Tensor, decision: str) -> Situation:
    own = decision == "own_noise"
    return Situation(
        rungs=state.rungs,
        mask=state.mask,
        velocities=velocities if own else state.velocities,
        remembered=state.iterations + own,
        pauses=state.pauses,
        iterations=state.iterations,
    )
