"""Which molecule which wish gets: atoms first, then ranges, then nearness, whatever the order of the molecules."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.data.targets import OPEN, TargetError, Targets
from ead_core.data.wish_tables import WishTable
from ead_core.prediction.calibration import Errors
from ead_core.sampling.unmet import OUTSIDE, Unmet, row_accounts, unmet_wishes
from ead_core.sampling.wishes import MISSED, Wishes, match_molecules, outside

SPREAD = {"gap": 1000.0, "mu": 2.0}


@pytest.fixture(scope="module")
def selector():
    seen = {name: SimpleNamespace(mad=spread) for name, spread in SPREAD.items()}
    errors = {name: Errors(0.1 * spread, 1, 1, 1, 1) for name, spread in SPREAD.items()}
    return SimpleNamespace(name="stub", statistics=SimpleNamespace(properties=seen), calibration=errors)


def molecules(sizes):
    return MoleculeSet.from_lists(
        [np.full(n, 6) for n in sizes], [np.zeros((n, 3)) for n in sizes], {"id": np.arange(len(sizes))}
    )


def exactly(*values):
    return tuple(((float(value),) * 2,) for value in values)


def taken(wishes, values, sizes):
    return match_molecules(wishes, {name: np.array(column, float) for name, column in values.items()}, molecules(sizes))


def test_the_sum_of_distances_is_the_least_of_all_assignments(selector):
    generator = np.random.default_rng(0)
    for _ in range(20):
        asked, values = generator.normal(5000, 1000, 3), generator.normal(5000, 1000, 5)
        wishes = Wishes(Targets(("gap",), exactly(*asked)), selector)
        places, _ = taken(wishes, {"gap": values}, [3] * 5)
        best = min(np.abs(asked - values[list(some)]).sum() for some in itertools.permutations(range(5), 3))
        assert np.abs(asked - values[places]).sum() == pytest.approx(best)


def test_ranges_are_met_before_values_come_near(selector):
    """The value would be met exactly by the only molecule in the range."""
    wishes = Wishes(Targets(("gap",), (*exactly(5500), ((5000.0, 6000.0),))), selector)
    places, _ = taken(wishes, {"gap": [5500, 9000]}, [3, 3])
    assert places.tolist() == [1, 0]
    assert wishes.costs({"gap": np.array([9000.0])}, np.array([3]))[:, 0].tolist() == [3.5, MISSED + 3]


def test_a_molecule_with_other_atoms_meets_no_wish(selector):
    rows = (((3.0, 3.0), OPEN), ((2.0, 4.0), OPEN), ((7.0, 7.0), OPEN))
    wishes = Wishes(Targets(("atoms_C", "gap"), rows, (None, 4, None)), selector)
    places, impossible = taken(wishes, {"atoms_C": [3, 4, 5], "gap": [0, 0, 0]}, [3, 4, 5])
    assert places.tolist() == [0, 1, -1]
    assert impossible.tolist() == [False, False, True]


def test_the_order_of_the_molecules_does_not_matter_nor_do_equal_ones(selector):
    generator = np.random.default_rng(1)
    wishes = Wishes(Targets(("gap",), exactly(*generator.integers(1, 4, 6))), selector)
    values, pool = generator.integers(1, 4, 12).astype(float), molecules(range(1, 13))
    places, _ = match_molecules(wishes, {"gap": values}, pool)
    for _ in range(5):
        order = generator.permutation(12)
        others, _ = match_molecules(wishes, {"gap": values[order]}, pool.select(order))
        assert order[others].tolist() == places.tolist()


def test_each_molecule_goes_to_one_wish_and_the_farthest_wish_goes_without(selector):
    wishes = Wishes(Targets(("gap",), exactly(1000, 2000, 3000)), selector)
    places, impossible = taken(wishes, {"gap": [1000, 2200]}, [3, 3])
    assert sorted(places.tolist()) == [-1, 0, 1]
    assert places.tolist() == [0, 1, -1]
    assert not impossible.any()


def test_the_distance_is_the_mean_over_what_is_asked_in_spreads(selector):
    rows = (((5000.0, 5000.0), (1.0, 2.0)), ((5000.0, 5000.0), OPEN), (OPEN, OPEN))
    wishes = Wishes(Targets(("gap", "mu"), rows), selector)
    values = {"gap": np.array([5500.0] * 3), "mu": np.array([3.0] * 3)}
    assert wishes.distances(np.arange(3), values).tolist() == [0.5, 0.5, 0]
    assert wishes.costs(values, np.array([3] * 3))[:, 0].tolist() == [MISSED + 0.5, 0.5, 0]
    assert wishes.tolerances.tolist() == pytest.approx([0.1, 0.1, 0])
    assert wishes.missed(np.arange(3), values).tolist() == [True, False, False]


def test_of_what_is_not_met_the_best_that_was_found_is_told(selector):
    """Of four molecules one goes to the first wish and one misses the range of the second; nobody has nine atoms."""
    rows = (*exactly(5000), ((1000.0, 2000.0),), *exactly(5000), *exactly(7000))
    wishes = Wishes(Targets(("gap",), rows, (None, None, 9, None)), selector)
    values, pool = {"gap": np.array([5000.0, 4000, 5100, 9000])}, molecules([3, 3, 8, 8])
    reasons = np.array(["", "", "nine", "few"])
    found = list(unmet_wishes(wishes, values, pool, np.array([0, 1, -1, -1]), reasons))
    assert [(each.wish, each.reason, each.id) for each in found] == [(1, OUTSIDE, 1), (2, "nine", 2), (3, "few", 2)]
    assert [each.distance for each in found] == pytest.approx([2, 0.1, 1.9])
    assert [each.predicted for each in found] == [{"gap": 4000}, {"gap": 5100}, {"gap": 5100}]
    nothing = list(unmet_wishes(wishes, {"gap": np.zeros(0)}, molecules([]), np.array([-1] * 4), reasons))
    assert [each.wish for each in nothing] == [0, 1, 2, 3]
    assert {(each.id, each.distance) for each in nothing} == {(-1, math.inf)}


def test_the_account_of_a_row_adds_up_and_tells_its_best_and_its_commonest_reason():
    table = WishTable(Targets(("gap",), exactly(1, 2)), (5, 2), ("a", "b"))
    found = (Unmet(1, "x", 7, "C", 3.0, {"gap": 4.0}), Unmet(1, "y", 8, "", 2.0, {"gap": 5.0}))
    unmet = [*found, Unmet(1, "x"), Unmet(2, "z")]
    first, second = row_accounts(unmet, table)
    assert (first.asked, first.met, first.unmet, first.best.id, first.best.reason) == (5, 2, 3, 8, "x")
    assert first.told == "row 1 ('a'): 2 of 5 met, because x; best found: id 8, gap 5, distance 2"
    assert second.told == "row 2 ('b'): 1 of 2 met, because z; nothing was found"
    assert first.cells["best_predicted_gap"] == "5"
    assert (second.cells["best_id"], second.cells["best_distance"]) == ("", "")


def test_what_is_no_number_is_far_from_everything_but_an_open_wish():
    assert outside(np.array([1, np.nan]), np.array([2, np.nan]), np.array([np.nan, np.nan])).tolist() == [np.inf, 0]


def test_what_nobody_predicts_cannot_be_matched(selector):
    with pytest.raises(TargetError, match="stub predicts gap, mu, so that wishes for zpve cannot be matched"):
        Wishes(Targets(("zpve",), exactly(1)), selector)
