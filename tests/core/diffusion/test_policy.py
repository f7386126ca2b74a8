"""The adaptive rule, atom by atom, and the manual pyramid against its formula."""

import pytest
import torch

from ead_core.diffusion.convergence import CONVERGENCE
from ead_core.diffusion.policy import Adaptive, Manual, PolicyState, RandomPauses, Synchronous


def situation(grid_index, velocities=None, pauses=0, remembered=10, mask=None, iteration=5, grid=range(1000)):
    grid_index = torch.tensor([grid_index])
    if velocities is None:
        velocities = [[2.0, 1.0]] * grid_index.shape[1]
    return PolicyState(
        seeds=torch.tensor([3]),
        ids=torch.tensor([8]),
        grid_index=grid_index,
        mask=torch.ones_like(grid_index, dtype=torch.bool) if mask is None else torch.tensor([mask]),
        velocities=torch.tensor([velocities]),
        remembered=torch.full_like(grid_index, remembered),
        pauses=torch.full_like(grid_index, pauses),
        iterations=torch.tensor([iteration]),
        grid=torch.tensor(grid),
    )


FALLING, RISING, LEVEL = [2.0, 1.0], [1.0, 2.0], [1.0, 1.0]  # level: as if nothing moved


def adaptive(start=200, window=2, clamp=29, max_pauses=10):
    return Adaptive(start=start, clamp=clamp, max_pauses=max_pauses, window=window)


def decisions(policy, now):
    return policy.advance(now)[0].tolist()


def test_atoms_whose_velocity_rises_pause():
    now = situation([100, 100, 100], [FALLING, RISING, LEVEL])
    assert decisions(adaptive(), now) == [True, False, True]


def test_above_the_stage_every_atom_advances():
    now = situation([201, 200], [RISING, RISING])
    assert decisions(adaptive(), now) == [True, False]


def test_clean_and_padding_atoms_never_advance():
    now = situation([0, 5, 5], [FALLING] * 3, mask=[True, True, False])
    assert decisions(adaptive(), now) == [False, True, False]
    assert decisions(Synchronous(), now) == [False, True, False]


def test_a_window_looks_at_all_its_velocities():
    now = situation([9, 9], [[3.0, 1.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    assert decisions(adaptive(window=3), now) == [False, True]
    assert decisions(adaptive(window=2), now) == [True, True]
    assert decisions(adaptive(window=1), now) == [True, True]


def test_until_the_window_is_full_atoms_advance():
    now = situation([9, 9], [RISING, FALLING], remembered=1)
    assert decisions(adaptive(), now) == [True, True]


def test_patience_ends_after_max_pauses():
    now = situation([9], [RISING], pauses=10)
    assert decisions(adaptive(max_pauses=10), now) == [True]
    assert decisions(adaptive(max_pauses=11), now) == [False]


def test_the_clamp_forces_who_falls_behind():
    # the first atom moves to 70, so an atom at 100 would be 30 away
    assert decisions(adaptive(clamp=29), situation([71, 100], [FALLING, RISING])) == [True, True]
    assert decisions(adaptive(clamp=30), situation([71, 100], [FALLING, RISING])) == [True, False]
    assert decisions(adaptive(clamp=29), situation([71, 100], [RISING, RISING])) == [False, False]


def test_the_clamp_counts_levels():
    """The first atom goes from 10 to 2, the second would stay at 20 or at 200."""
    grid = [0, 2, 10, 20, 200]
    assert decisions(adaptive(clamp=18), situation([2, 3], [FALLING, RISING], grid=grid)) == [True, False]
    assert decisions(adaptive(clamp=17), situation([2, 3], [FALLING, RISING], grid=grid)) == [True, True]
    assert decisions(adaptive(clamp=197), situation([2, 4], [FALLING, RISING], grid=grid)) == [True, True]


def test_a_step_longer_than_the_clamp_is_taken_together():
    grid = [0, 50, 51]
    assert decisions(adaptive(), situation([1, 1], [RISING, FALLING], grid=grid)) == [True, True]
    assert decisions(adaptive(), situation([1, 1], [RISING, RISING], grid=grid)) == [False, False]
    assert decisions(adaptive(max_pauses=0), situation([1, 1], [RISING, RISING], grid=grid)) == [True, True]
    assert decisions(adaptive(), situation([1, 2], [FALLING, RISING], grid=grid)) == [False, False]  # the first waits


def test_padding_does_not_hold_the_clamp():
    now = situation([100, 0], [RISING, RISING], mask=[True, False])
    assert decisions(adaptive(), now) == [False, False]


@pytest.mark.parametrize(("group", "lag"), [(5, 1), (3, 3), (1, 2)])
def test_manual_follows_its_matrix(group, lag):
    top, atoms = 12, 9
    policy = Manual(top, group, lag)
    grid_index = torch.full((1, atoms), top)
    delay = lag * torch.div(torch.arange(atoms), group, rounding_mode="floor")
    for m in range(1, top + int(delay.max()) + 1):
        now = situation(grid_index[0].tolist(), iteration=m - 1)
        grid_index = grid_index - policy.advance(now).long()
        assert grid_index[0].tolist() == (top + delay - m).clamp(0, top).tolist()
    assert int(grid_index.max()) == 0


# A dip, a bump at the end, a slow fall with one rise, and a straight rise.
HISTORIES = torch.tensor([[5.0, 4.0, 1.0, 2.0], [4.0, 3.0, 2.0, 6.0], [9.0, 5.0, 6.0, 4.0], [1.0, 2.0, 3.0, 4.0]])


@pytest.mark.parametrize(
    ("test", "window", "passes"),
    [
        ("strict", 2, [False, False, True, False]),
        ("strict", 4, [False, False, False, False]),
        ("mean", 3, [True, False, True, False]),  # means 2.33, 3.67, 5, 3
        ("slope", 4, [True, False, True, False]),  # slopes −1.2, +0.5, −1.4, +1
        ("slope", 2, [False, False, True, False]),
        ("ema", 1, [False, False, True, False]),  # with w = 1 the average is the value before
        ("ema", 3, [True, False, True, False]),  # weights ¼, ½, 1: averages 2.14, 2.57, 6.14, 2.43
    ],
)
def test_convergence_tests_on_known_histories(test, window, passes):
    assert CONVERGENCE[test](HISTORIES, window).tolist() == passes


def test_the_exponential_average_leaves_out_what_has_not_been_seen():
    velocities = torch.tensor([[0.0, 0.0, 2.0, 1.5]])
    assert CONVERGENCE["ema"](velocities, 9).tolist() == [True]  # with the zeros the average would be 0.75


@pytest.mark.parametrize("test", CONVERGENCE)
def test_adaptive_uses_the_named_test(test):
    velocities = [[4.0, 3.0, 2.0, 6.0], [6.0, 4.0, 3.0, 2.0]]
    policy = Adaptive(start=200, clamp=29, max_pauses=10, window=3, test=test)
    assert decisions(policy, situation([9, 9], velocities)) == [False, True]


def random_decisions(policy, grid_index, molecules=4000):
    now = situation(grid_index)
    ids = torch.arange(molecules)
    alone = {"ids": ids, "grid": now.grid}
    many = {name: value.expand(molecules, *value.shape[1:]) for name, value in vars(now).items() if name not in alone}
    return policy.advance(PolicyState(**many, **alone))


def test_random_pauses_have_the_rates_of_their_rungs():
    policy = RandomPauses(start=4, clamp=29, max_pauses=10, rates=(0.25, 0.5, 0.75))
    advanced = random_decisions(policy, [1, 2, 3, 4, 5])
    assert advanced.double().mean(0).tolist() == pytest.approx([0.25, 0.5, 0.75, 0.75, 1], abs=0.03)
    independent = (advanced[:, 1] & advanced[:, 2]).double().mean()
    assert float(independent) == pytest.approx(0.5 * 0.75, abs=0.03)


def test_molecules_that_pause_together_share_one_draw():
    policy = RandomPauses(start=9, clamp=29, max_pauses=10, rates=(0.6,), together=True)
    advanced = random_decisions(policy, [5, 5, 5])
    assert bool((advanced == advanced[:, :1]).all())
    assert float(advanced.double().mean()) == pytest.approx(0.6, abs=0.03)


def test_random_pauses_depend_on_seed_molecule_and_iteration_alone():
    policy, now = RandomPauses(start=9, clamp=29, max_pauses=10, rates=(0.5,)), situation([5] * 40)
    again, later = situation([5] * 40), situation([5] * 40, iteration=6)
    assert decisions(policy, now) == decisions(policy, again)
    assert decisions(policy, now) != decisions(policy, later)
