"""The adaptive rule, atom by atom, and the manual pyramid against its formula."""

import pytest
import torch

from ead_core.diffusion.policy import Adaptive, Manual, Situation, Synchronous


def situation(rungs, velocities=None, pauses=0, remembered=10, mask=None, iteration=5):
    rungs = torch.tensor([rungs])
    if velocities is None:
        velocities = [[2.0, 1.0]] * rungs.shape[1]
    return Situation(
        rungs=rungs,
        mask=torch.ones_like(rungs, dtype=torch.bool) if mask is None else torch.tensor([mask]),
        velocities=torch.tensor([velocities]),
        remembered=torch.tensor([remembered]),
        pauses=torch.full_like(rungs, pauses),
        iterations=torch.tensor([iteration]),
    )


FALLING, RISING, LEVEL = [2.0, 1.0], [1.0, 2.0], [1.0, 1.0]


def adaptive(start=200, window=2, clamp=29, max_pauses=10):
    return Adaptive(start, window, clamp, max_pauses)


def decisions(policy, now):
    return policy.advance(now)[0].tolist()


def test_only_falling_velocities_advance():
    now = situation([100, 100, 100], [FALLING, RISING, LEVEL])
    assert decisions(adaptive(), now) == [True, False, False]


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


def test_padding_does_not_hold_the_clamp():
    now = situation([100, 0], [RISING, RISING], mask=[True, False])
    assert decisions(adaptive(), now) == [False, False]


@pytest.mark.parametrize(("group", "lag"), [(5, 1), (3, 3), (1, 2)])
def test_manual_follows_its_matrix(group, lag):
    top, atoms = 12, 9
    policy = Manual(top, group, lag)
    rungs = torch.full((1, atoms), top)
    delay = lag * torch.div(torch.arange(atoms), group, rounding_mode="floor")
    for m in range(1, top + int(delay.max()) + 1):
        now = situation(rungs[0].tolist(), iteration=m - 1)
        rungs = rungs - policy.advance(now).long()
        assert rungs[0].tolist() == (top + delay - m).clamp(0, top).tolist()
    assert int(rungs.max()) == 0
