"""Solvers against their published form, their order, and what pauses and company may not change.

Data are Gaussian, one atom like another, so that ε̂ is known exactly: for N(0, s²) it is σ z / (α² s² + σ²), and the
probability flow is a scaling by √(α² s² + σ²). Only the feature channels are looked at, which no projection touches.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

import pytest
import torch

from ead_core.common.noise import Stream, normal
from ead_core.config import SamplerConfig
from ead_core.data.tensors import size_mask
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.policy import Manual, Policy, Synchronous
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.networks.inputs import DenoiserInput
from ead_core.sampling import sampler
from ead_core.sampling import state as states_module
from ead_core.sampling.sampler import step, trajectory
from ead_core.sampling.state import initial_state, join

WIDTH = 0.5
FINE = NoiseSchedule(20_000)  # its levels hardly limit the choice of steps
MULTISTEP = [name for name, solver in SOLVERS.items() if solver.multistep]


def test_the_recipe_knows_every_solver():
    assert get_args(SamplerConfig.model_fields["solver"].annotation) == tuple(SOLVERS)


@dataclass(frozen=True)
class EveryThird(Policy):
    """Advances in every third iteration."""

    window: int = 1

    def advance(self, now):
        return now.mask & (now.grid_index > 0) & ((now.iterations + 1) % 3 == 0)[:, None]

    def most_pauses(self, atoms):
        return 2000


def gaussian(schedule):
    def predict(inputs):
        z, levels = inputs.z, inputs.levels
        alpha, sigma = (c(levels)[..., None].to(z.dtype) for c in (schedule.alpha, schedule.sigma))
        return sigma * z / (alpha**2 * WIDTH**2 + sigma**2)

    return predict


def process_of(solver, grid, policy=None, schedule=FINE, function=None, pause_mode="hold"):
    function = function or gaussian(schedule)
    return Process(function, schedule, grid, policy or Synchronous(), PAUSES[pause_mode], False, SOLVERS[solver])


def start(process, sizes=(4, 3), ids=(0, 1), channels=7):
    seeds = torch.full((len(ids),), 5)
    return initial_state(seeds, torch.tensor(ids), size_mask(sizes), channels, process, torch.float64)


def end(process, state):
    *_, last = trajectory(state, process)
    return last


def interior(steps):
    """A grid on which log SNR runs smoothly: neither end of the levels is on it."""
    return torch.linspace(2000, 16_000, steps + 1).round().long()


def textbook(solver, process, state):
    """The solvers in the published form, in λ = log(α/σ) and with one level for all."""
    schedule, levels = process.schedule, process.grid.tolist()[::-1]
    alpha, sigma = (c(torch.arange(schedule.steps + 1)) for c in (schedule.alpha, schedule.sigma))
    lam = alpha.log() - sigma.log()
    z, last, last_h = state.z, None, None
    for i, (t, s) in enumerate(pairwise(levels)):
        x = (
            z - sigma[t] * process.denoiser(DenoiserInput(z, torch.full_like(state.grid_index, t), state.mask))
        ) / alpha[t]
        h = lam[s] - lam[t]
        guess = x
        if solver.startswith("dpmpp") and last is not None:
            r = last_h / h
            guess = (1 + 1 / (2 * r)) * x - 1 / (2 * r) * last
        if solver in ("ancestral", "dpmpp_2m_sde"):
            noise = normal(5, state.ids, i, Stream.STEP, z.shape[1:], torch.float64)
            z = sigma[s] / sigma[t] * (-h).exp() * z - alpha[s] * torch.expm1(-2 * h) * guess
            z = z + sigma[s] * (-torch.expm1(-2 * h)).sqrt() * noise
        else:
            z = sigma[s] / sigma[t] * z - alpha[s] * torch.expm1(-h) * guess
        last, last_h = x, h
    return z


@pytest.mark.parametrize(
    ("solver", "steps", "kind"),
    [
        ("ancestral", 40, "even"),
        ("ddim", 100, "even"),
        ("dpmpp_2m", 40, "quadratic"),
        ("dpmpp_2m_sde", 40, "quadratic"),
    ],
)
def test_every_solver_is_the_published_one(solver, steps, kind):
    process = process_of(solver, sampling_grid(1000, steps, kind), schedule=NoiseSchedule(1000))
    state = start(process, (4, 4))
    expected = textbook(solver, process, state)
    assert torch.allclose(end(process, state).z[..., 3:], expected[..., 3:], rtol=1e-6, atol=1e-8)


def flow_error(solver, steps):
    process = process_of(solver, interior(steps))
    state = start(process)
    alpha, sigma = FINE.alpha(process.grid), FINE.sigma(process.grid)
    width = (alpha**2 * WIDTH**2 + sigma**2).sqrt()
    exact = state.z * width[0] / width[-1]
    return float((end(process, state).z - exact)[..., 3:].abs().max())


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpmpp_2m", 2)])
def test_order_of_convergence_to_the_flow(solver, order):
    """Halving the steps' length divides the error by 2 or by 4."""
    errors = torch.tensor([flow_error(solver, steps) for steps in (20, 40, 80, 160)])
    assert torch.allclose(errors[:-1] / errors[1:], torch.tensor(2.0**order), rtol=0.15)


def variance_error(solver, steps, monkeypatch):
    """|variance − exact| at the end: each noise has a channel of its own, and all is linear."""
    process = process_of(solver, interior(steps))
    channels = 3 + steps + 1

    def own_channel(seeds, ids, iteration, stream, shape, dtype):
        return torch.eye(channels, dtype=dtype)[torch.as_tensor(iteration).reshape(1, 1) + 3 + stream]

    for module in (sampler, states_module):
        monkeypatch.setattr(module, "normal", own_channel)
    state = start(process, (1,), (0,), channels)
    alpha, sigma = FINE.alpha(process.grid), FINE.sigma(process.grid)
    width = alpha**2 * WIDTH**2 + sigma**2
    z = end(process, replace(state, z=state.z * width[-1].sqrt())).z
    return abs(float((z**2).sum() - width[0]))


@pytest.mark.parametrize(("solver", "order"), [("ancestral", 1), ("dpmpp_2m_sde", 2)])
def test_order_of_convergence_of_the_variance(solver, order, monkeypatch):
    """With noise the law converges, not the path: too coarse steps leave the wrong variance."""
    errors = torch.tensor([variance_error(solver, steps, monkeypatch) for steps in (20, 40, 80)])
    assert torch.allclose(errors[:-1] / errors[1:], torch.tensor(2.0**order), rtol=0.15)


@pytest.mark.parametrize("policy", [Synchronous(), Manual(12, 2, 1)], ids=type)
@pytest.mark.parametrize("solver", MULTISTEP)
def test_a_constant_prediction_needs_no_second_order(solver, policy):
    """All molecules the same: x̂ never changes, so that memory adds nothing, also beside atoms still at the top."""
    schedule, point = NoiseSchedule(1000), 0.7
    first_order = {"dpmpp_2m": "ddim", "dpmpp_2m_sde": "ancestral"}[solver]

    def predict(inputs):
        z, levels, mask = inputs.z, inputs.levels, inputs.mask
        noise = (z - schedule.alpha(levels)[..., None] * point) / schedule.sigma(levels)[..., None]
        return noise * mask[..., None]

    ends = []
    for name in (solver, first_order):
        process = process_of(name, sampling_grid(1000, 12, "quadratic"), policy, schedule, predict)
        ends.append(end(process, start(process)).z)
    assert torch.allclose(*ends, atol=1e-9)


@pytest.mark.parametrize("solver", MULTISTEP)
def test_one_step_is_of_first_order(solver):
    first_order = {"dpmpp_2m": "ddim", "dpmpp_2m_sde": "ancestral"}[solver]
    ends = []
    for name in (solver, first_order):
        process = process_of(name, torch.tensor([0, 20_000]))
        ends.append(end(process, start(process)).z)
    assert torch.equal(*ends)


@pytest.mark.parametrize("policy", [EveryThird(), Manual(30, 2, 3)], ids=type)
def test_holding_an_atom_changes_nothing_but_its_time(policy):
    """Memory is that of the grid step above, however long an atom waits: its path is the one without waiting."""
    grid = sampling_grid(20_000, 30, "quadratic")
    plain, held = process_of("dpmpp_2m", grid), process_of("dpmpp_2m", grid, policy)
    expected, found = end(plain, start(plain)), end(held, start(held))
    assert int(found.iterations.min()) > int(expected.iterations.max())
    assert torch.allclose(found.z[..., 3:], expected.z[..., 3:], atol=1e-12)


@pytest.mark.parametrize("mode", ["repeat", "renoise", "hold"])
def test_memory_changes_only_when_an_atom_leaves_its_rung(mode):
    process = process_of("dpmpp_2m_sde", sampling_grid(20_000, 10), EveryThird(), pause_mode=mode)
    before = start(process)
    for now in trajectory(before, process):
        left = now.grid_index < before.grid_index
        changed = (now.prediction != before.prediction).any(dim=-1)
        assert torch.equal(changed, left)
        before = now


def test_molecules_of_different_stages_share_calls(denoiser):
    """Memory travels with its molecule: a late joiner, in a network that mixes atoms, ends as it does alone."""
    process = process_of(
        "dpmpp_2m_sde", sampling_grid(1000, 20, "quadratic"), Manual(20, 2, 1), NoiseSchedule(1000), denoiser
    )
    early, late = start(process, (5,), (3,), 8), start(process, (5,), (4,), 8)
    alone = [end(process, state).z[0] for state in (early, late)]
    for _ in range(6):
        early = step(early, process)
    together = end(process, join([early, late]))
    for row, expected in enumerate(alone):
        assert torch.allclose(together.z[row], expected, atol=1e-9)
    assert torch.equal(together.select(torch.tensor([1])).prediction[0], together.prediction[1])
