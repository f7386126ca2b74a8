"""Rounds of the corrector: what they keep, what they change, what they cost."""

from dataclasses import replace

import pytest
import torch

from ead_core.common.noise import normal
from ead_core.data.tensors import size_mask
from ead_core.diffusion.corrector import CHANNELS, CORRECTIONS, Corrector
from ead_core.diffusion.gaussian_start import GaussianStart
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.policy import Adaptive, Manual, Synchronous
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.diffusion.temperature import ScoreRescaling
from ead_core.sampling import sampler
from ead_core.sampling import state as states_module
from ead_core.sampling.prefix import run_prefix
from ead_core.sampling.sampler import step, trajectory
from ead_core.sampling.state import initial_state, join

STEPS = 20
ADAPTIVE = Adaptive(start=10, window=2, clamp=250, max_pauses=10)
PYRAMID = Manual(STEPS, 2, 3)


def corrector(rounds=1.0, mode="renoise", levels=(0.0, 0.3), channels="all"):
    return Corrector(rounds, CORRECTIONS[mode], levels, CHANNELS[channels])


def start(process, sizes=(6, 4), ids=None):
    ids = torch.arange(len(sizes)) if ids is None else torch.as_tensor(ids)
    return initial_state(torch.full_like(ids, 7), ids, size_mask(sizes), 8, process, torch.float64)


def run(process, state=None):
    return list(trajectory(start(process) if state is None else state, process))


def everything(make_process, policy=ADAPTIVE):
    """Cooled, corrected, and begun below T."""
    process = make_process(policy, steps=STEPS, solver="dpmpp_2m_sde", corrector=corrector(0.7))
    grid = sampling_grid(700, STEPS, "quadratic")
    mean = torch.linspace(0, 0.3, 8).double() * (torch.arange(8) > 2)
    begin = GaussianStart.at(grid[-1], process.schedule, mean.expand(7, 8), torch.full((7, 8), 0.25).double())
    return replace(process, grid=grid, start=begin, cooling=ScoreRescaling(0.5, 0.3))


def exact(width, schedule):
    def predict(inputs):
        alpha, sigma = (c(inputs.levels)[..., None] for c in (schedule.alpha, schedule.sigma))
        return sigma * inputs.z / (alpha**2 * width**2 + sigma**2)

    return predict


def variance_of(width, correction, channels, steps=30):
    """Variances of coordinates and of types at the end, relative to the exact ones, after a start that is exact."""
    schedule = NoiseSchedule(20_000)
    grid = torch.linspace(2000, 12_000, steps + 1).round().long()
    process = Process(exact(width, schedule), schedule, grid, Synchronous(), solver=SOLVERS["dpmpp_2m_sde"])
    process = replace(process, corrector=corrector(2, correction, (0, 1), channels))
    ids = torch.arange(200)
    state = initial_state(ids * 0, ids, size_mask([6] * 200), 7, process, torch.float64)
    wide = (schedule.alpha(grid) ** 2 * width**2 + schedule.sigma(grid) ** 2).sqrt()
    z = run(process, replace(state, z=state.z * wide[-1]))[-1].z / wide[0]
    return float((z[..., :3] ** 2).mean()) * 6 / 5, float((z[..., 3:] ** 2).mean())


@pytest.mark.parametrize(("width", "channels"), [(0.0, "all"), *((0.5, channels) for channels in CHANNELS)])
def test_the_marginals_of_gaussian_data_stay_as_they_are(width, channels):
    """Four standard errors of 200 molecules of 6 atoms: 0.06 for the coordinates, 0.05 for the types."""
    assert variance_of(width, "renoise", channels) == pytest.approx((1, 1), abs=0.06)


def test_repeating_cools_what_it_is_for():
    """Three executions at every step give the variance 3 / 5 where x̂ is certain (method: pauses)."""
    coordinates, types = variance_of(0.0, "repeat", "coordinates")
    assert coordinates == pytest.approx(3 / 5, abs=0.06)
    assert types == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    ("rounds", "window", "expected"),
    [(0.5, (0.0, 0.1), [0, 1, 0, 1, 0, 0]), (2.0, (0.05, 0.1), [0, 0, 2, 2, 2, 0]), (0.0, (0.0, 1.0), [0] * 6)],
)
def test_rounds_are_spread_evenly_over_the_steps_of_the_window(rounds, window, expected):
    plan = corrector(rounds, levels=window).plan(torch.tensor([0, 20, 50, 80, 100, 400]), 1000)
    assert plan.tolist() == expected


@pytest.mark.parametrize("policy", [Synchronous(), PYRAMID, ADAPTIVE], ids=type)
@pytest.mark.parametrize("rounds", [0.3, 2.0])
def test_every_round_is_one_call(make_process, policy, rounds):
    process = make_process(policy, steps=STEPS, corrector=corrector(rounds))
    end = run(process)[-1]
    assert end.rounds.tolist() == [int(process.rounds.sum())] * 2
    assert int(process.rounds.sum()) == int(rounds * 6)  # steps of 20 up to 0.3 T
    assert torch.equal(end.calls, end.iterations)
    assert int(end.calls.max()) + 1 <= process.most_calls + policy.most_pauses(6)


@pytest.mark.parametrize("policy", [Synchronous(), PYRAMID], ids=type)
def test_who_moves_when_does_not_depend_on_the_rounds_between(make_process, policy):
    plain, corrected = make_process(policy, steps=STEPS), make_process(policy, steps=STEPS, corrector=corrector(2))
    before = start(corrected, (6,))
    moves = []
    for now in run(corrected, before):
        if not torch.equal(now.rounds, before.rounds):
            assert torch.equal(now.grid_index, before.grid_index)
        else:
            moves.append(now.grid_index)
        before = now
    assert torch.equal(torch.stack(moves), torch.stack([now.grid_index for now in run(plain, start(plain, (6,)))]))


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_round_changes_its_channels_within_its_window_alone(make_process, channels):
    process = make_process(ADAPTIVE, steps=STEPS, corrector=corrector(1, levels=(0.1, 0.3), channels=channels))
    chosen = torch.zeros(8, dtype=torch.bool)
    chosen[CHANNELS[channels]] = True
    before, rounds = start(process, (6,)), 0
    for now in run(process, before):
        if int(now.rounds) > int(before.rounds):
            rounds += 1
            level = process.grid[before.grid_index]
            part = (level >= 100) & (level <= 300)
            moved = (now.z != before.z).any(dim=1)[0]
            assert part.any()
            assert torch.equal(moved[3:], chosen[3:])
            assert torch.equal((now.z - before.z)[..., 3:].abs().sum(-1) > 0, part & chosen[3:].any())
            assert torch.equal(now.prediction, before.prediction)
            assert torch.equal(now.velocities, before.velocities)
            assert torch.equal(now.pauses, before.pauses)
        before = now
    assert rounds == int(process.rounds.sum()) > 0


def test_what_is_held_is_not_corrected(make_process):
    process = make_process(steps=20, pinned=True, corrector=corrector(1, levels=(0, 1)))
    state = start(process, (6,))
    held = torch.zeros_like(state.mask)
    held[:, :2] = True
    state = replace(state, held=held, grid_index=state.grid_index * ~held)
    end = run(process, state)[-1]
    assert torch.equal(end.z[:, :2], state.z[:, :2])
    assert int(end.rounds) == 20


@pytest.mark.parametrize("policy", [Synchronous(), ADAPTIVE, PYRAMID], ids=type)
def test_company_changes_nothing(make_process, policy):
    """Molecules at other stages, in the same call, correct while others move."""
    process = everything(make_process, policy)
    early, late = (start(process, (6,), [number]) for number in (3, 4))
    alone = [run(process, state)[-1] for state in (early, late)]
    for _ in range(5):
        early = step(early, process)
    together = run(process, join([early, late]))[-1]
    for row, expected in enumerate(alone):
        assert torch.allclose(together.z[row], expected.z[0], atol=1e-9)
        assert int(together.rounds[row]) == int(expected.rounds)


def test_turning_and_renumbering_all_noise_does_so_with_the_molecules(make_process, monkeypatch):
    process = everything(make_process)
    state = start(process, (6,))
    plain = run(process, state)[-1].z
    rotation, order = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0], torch.randperm(6)

    def moved(*args):
        draws = normal(*args)[:, order]
        return torch.cat([draws[..., :3] @ rotation.T, draws[..., 3:]], dim=-1)

    for module in (sampler, states_module):
        monkeypatch.setattr(module, "normal", moved)
    turned = run(process, start(process, (6,)))[-1].z
    assert torch.allclose(turned[..., :3], plain[:, order, :3] @ rotation.T, atol=1e-8)
    assert torch.allclose(turned[..., 3:], plain[:, order, 3:], atol=1e-8)


def test_a_run_goes_on_from_a_stored_step_as_if_it_had_not_stopped(make_process):
    """A molecule that comes to a step has all of its rounds before it."""
    process = everything(make_process, Synchronous())
    branches = run_prefix(start(process), process, {STEPS, 10, 0})
    assert sorted(branches) == [0, 10, STEPS]
    assert torch.equal(run(process, branches[10].state)[-1].z, run(process)[-1].z)
    assert branches[10].state.rounds_here.eq(0).all()


def test_a_molecule_that_enters_below_makes_the_rounds_of_its_own_steps(make_process):
    process = make_process(steps=STEPS, corrector=corrector(1))
    state = start(process, (6,))
    end = run(process, replace(state, grid_index=state.grid_index.clamp_max(4)))[-1]
    assert end.rounds.tolist() == [4]


def test_all_pauses_go_with_it(make_process):
    for mode in PAUSES:
        end = run(make_process(ADAPTIVE, steps=STEPS, pause_mode=mode, corrector=corrector(1)))[-1]
        assert end.rounds.tolist() == [6, 6]
        assert end.z.isfinite().all()
