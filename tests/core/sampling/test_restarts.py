"""Molecules with unpaired electrons go back up: who, how often, and to the right marginals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.tensors import size_mask
from ead_core.diffusion.corrector import CHANNELS, CORRECTIONS, Corrector
from ead_core.diffusion.policy import Adaptive, Manual, Synchronous
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.process import Process
from ead_core.diffusion.restarts import Restarts
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.sampling.generation import sample
from ead_core.sampling.prefix import run_prefix
from ead_core.sampling.sampler import step, trajectory
from ead_core.sampling.state import initial_state, join

STEPS, LOW, HIGH = 30, 2, 9
LEVELS = (0.07, 0.3)  # steps 2 and 9 of 30 even ones
ADAPTIVE = Adaptive(start=8, window=2, clamp=100, max_pauses=3)
POLICIES = [Synchronous(), ADAPTIVE, Manual(STEPS, 2, 3)]
ALL_ODD = torch.ones(5, dtype=torch.bool)


def restarts(most=2, odd=ALL_ODD):
    return Restarts(most, LEVELS, odd)


def start(process, sizes, ids=None):
    ids = torch.arange(len(sizes)) if ids is None else torch.as_tensor(ids)
    return initial_state(torch.full_like(ids, 7), ids, size_mask(sizes), 8, process, torch.float64)


def end_of(process, state):
    return list(trajectory(state, process))[-1]


def test_unpaired_electrons_are_those_of_an_odd_number_of_odd_atoms():
    charges = torch.tensor([[1, 6, 8, 8], [1, 1, 7, 7], [7, 6, 6, 1], [9, 0, 0, 0]])
    numbers = torch.tensor([1, 6, 7, 8, 9])
    features = torch.nn.functional.one_hot(torch.searchsorted(numbers, charges), 5) / 4.0
    features = torch.cat([features + 0.05 * torch.rand(4, 4, 5), torch.rand(4, 4, 1)], dim=-1)
    mine, nothing_asked, none_yet = restarts(odd=numbers % 2 == 1), torch.zeros(4, 0).long(), torch.zeros(4)
    found = mine.due(features, charges > 0, nothing_asked, none_yet)
    assert not mine.due(features, charges > 0, nothing_asked, none_yet + 2).any()
    assert found.tolist() == (charges.sum(dim=1) % 2 == 1).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("grid", "expected"),
    [([0, 30, 70, 71, 300, 1000], (2, 4)), ([0, 40, 299], (1, 2)), ([0, 69], None), ([0, 1, 2], None)],
)
def test_steps_are_the_last_ones_at_or_below_the_levels(grid, expected):
    assert restarts().steps(torch.tensor(grid), 1000) == expected


@pytest.mark.parametrize("policy", POLICIES, ids=type)
def test_who_stays_unpaired_makes_all_restarts_and_who_is_paired_none(make_process, policy):
    plain = make_process(policy, steps=STEPS, solver="dpmpp_2m_sde")
    process = replace(plain, restarts=restarts())
    end = end_of(process, start(process, (5, 4)))  # every atom is odd, whatever its type
    assert end.restarts.tolist() == [2, 0]
    assert end.z.isfinite().all()
    alone = end_of(plain, start(plain, (4,), [1]))
    assert torch.allclose(end.z[1, :4], alone.z[0], atol=1e-9)
    assert int(end.calls.max()) + 1 <= process.most_calls + policy.most_pauses(5) * 3


def test_a_restart_costs_the_steps_between(make_process):
    process = make_process(
        steps=STEPS, restarts=restarts(), corrector=Corrector(1, CORRECTIONS["renoise"], (0, 0.15), CHANNELS["all"])
    )
    end = end_of(process, start(process, (5,)))
    rounds = int(process.rounds.sum())
    again = int(process.rounds[LOW + 1 : HIGH + 1].sum())
    assert 0 < again < rounds
    assert int(end.calls) + 1 == process.most_calls == STEPS + 1 + rounds + 2 * (HIGH - LOW + again)


def test_the_marginals_of_gaussian_data_stay_as_they_are():
    """Four standard errors of 200 molecules of 5 atoms: 0.1 for the coordinates, 0.09 for the types."""
    schedule, width = NoiseSchedule(1000), 0.5

    def exact(inputs):
        alpha, sigma = (c(inputs.levels)[..., None] for c in (schedule.alpha, schedule.sigma))
        return sigma * inputs.z / (alpha**2 * width**2 + sigma**2)

    grid = torch.linspace(0, 1000, 101).round().long()
    process = Process(exact, schedule, grid, Synchronous(), solver=SOLVERS["dpmpp_2m_sde"], restarts=restarts(3))
    end = end_of(process, start(process, [5] * 200))
    assert end.restarts.tolist() == [3] * 200
    exact_variance = float(schedule.alpha(grid[:1])) ** 2 * width**2 + float(schedule.sigma(grid[:1])) ** 2
    assert float((end.z[..., :3] ** 2).mean()) * 5 / 4 == pytest.approx(exact_variance, rel=0.1)
    assert float((end.z[..., 3:] ** 2).mean()) == pytest.approx(exact_variance, rel=0.09)


def test_a_restart_goes_to_its_level_and_forgets_what_was_predicted_above(make_process):
    process = make_process(steps=STEPS, solver="dpmpp_2m_sde", restarts=restarts(1))
    states = list(trajectory(start(process, (5,)), process))
    steps = [int(state.grid_index.max()) for state in states]
    place = steps.index(HIGH, steps.index(HIGH) + 1)
    assert steps == [*range(STEPS - 1, LOW, -1), *range(HIGH, -1, -1)]
    assert states[place].prediction.isnan().all()
    assert not states[place + 1].prediction.isnan().any()
    assert float(states[place].z[..., :3].sum(1).abs().max()) < 1e-9


@pytest.mark.parametrize("policy", POLICIES, ids=type)
def test_company_changes_nothing(make_process, policy):
    """Molecules at other stages, in the same call, go back up while others go down."""
    process = make_process(policy, steps=STEPS, solver="dpmpp_2m_sde", restarts=restarts())
    early, late = (start(process, (5,), [number]) for number in (3, 4))
    alone = [end_of(process, state) for state in (early, late)]
    for _ in range(5):
        early = step(early, process)
    together = end_of(process, join([early, late]))
    for row, expected in enumerate(alone):
        assert torch.allclose(together.z[row], expected.z[0], atol=1e-9)
        assert int(together.restarts[row]) == int(expected.restarts) == 2


def test_what_is_held_stays(make_process):
    process = make_process(steps=20, pinned=True, restarts=restarts())
    state = start(process, (5,))
    held = torch.zeros_like(state.mask)
    held[:, :2] = True
    state = replace(state, held=held, grid_index=state.grid_index * ~held)
    end = end_of(process, state)
    assert torch.equal(end.z[:, :2], state.z[:, :2])
    assert int(end.restarts) == 2


def test_a_run_goes_on_from_a_stored_step_above_as_if_it_had_not_stopped(make_process):
    process = make_process(steps=STEPS, solver="dpmpp_2m_sde", restarts=restarts())
    whole = end_of(process, start(process, (5, 4)))
    branches = run_prefix(start(process, (5, 4)), process, {HIGH + 1, LOW + 1, 0})
    for index in (HIGH + 1, LOW + 1):
        assert torch.equal(end_of(process, branches[index].state).z, whole.z)
    assert torch.equal(branches[0].state.z, whole.z)


def test_a_request_counts_the_calls_and_makes_equal_molecules_in_any_batch():
    model = load_checkpoint("qm9-small")
    own = {"policy": "synchronous", "solver": "dpmpp_2m_sde", "steps": 20, "grid": "quadratic", "parity_restarts": 3}
    made = sample(model, 6, 3, (12,), parity_levels=(0.1, 0.5), **own)
    calls = made.properties["nfe"].tolist()
    assert {21} < set(calls) <= {21, 29, 37, 45}  # from step 6 of 20 back to step 14
    few = sample(model, 3, 3, (12,), first=3, batch_size=2, parity_levels=(0.1, 0.5), **own)
    assert few.properties["nfe"].tolist() == calls[3:]
    alone = made.select(np.arange(3, 6))
    assert np.array_equal(few.charges, alone.charges)
    assert np.allclose(few.positions, alone.positions, atol=1e-3)
