"""The assignment is the best of all that there are, by trying them."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ead_core.common.assignment import NOTHING, assign

WITHOUT = 100.0


def total(costs, things):
    return sum(WITHOUT if thing == NOTHING else costs[taker, thing] for taker, thing in enumerate(things))


def least(costs):
    """The best total by trying every assignment, with as many who go without as one likes."""
    takers, things = costs.shape
    places = [*range(things), *[NOTHING] * takers]
    return min(total(costs, chosen) for chosen in set(itertools.permutations(places, takers)))


@pytest.mark.parametrize("seed", range(40))
def test_no_other_assignment_costs_less(seed):
    generator = np.random.default_rng(seed)
    costs = generator.integers(0, 6, size=(generator.integers(1, 5), generator.integers(0, 5))).astype(float)
    costs[generator.random(costs.shape) < 0.3] = np.inf
    found = assign(costs, WITHOUT)
    served = found[found != NOTHING]
    assert len(np.unique(served)) == len(served)
    assert total(costs, found) == least(costs)


def test_who_is_first_gives_way_if_that_serves_all():
    assert assign(np.array([[1.0, 2.0], [1.0, np.inf]]), WITHOUT).tolist() == [1, 0]


def test_as_many_as_can_be_are_served_by_the_nearest():
    costs = np.array([[1.0], [0.5], [np.inf]])
    assert assign(costs, WITHOUT).tolist() == [NOTHING, 0, NOTHING]


def test_it_is_as_good_as_another_solver_where_trying_all_would_take_too_long():
    costs = np.abs(np.subtract.outer(*np.random.default_rng(1).normal(size=(2, 80)))) ** 1.5
    rows, columns = linear_sum_assignment(costs[:60])
    found = assign(costs[:60], 1e6)
    assert costs[np.arange(60), found].sum() == pytest.approx(costs[rows, columns].sum())
