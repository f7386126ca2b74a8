"""A table of wishes is met from one pool: each molecule once, every attempt accounted for, equal for equal seeds."""

from collections import Counter

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.target_tables import read_wishes
from ead_core.data.targets import TargetError, Targets
from ead_core.errors import ConfigError
from ead_core.evaluation.acceptance import Verdict
from ead_core.prediction.calibration import Errors
from ead_core.sampling import delivery, matching, wishes
from ead_core.sampling.matches import SPARE
from ead_core.sampling.matching import TOO_FEW, WRONG_ATOMS, match
from ead_core.sampling.order import MatchOrder
from ead_core.sampling.unmet import OUTSIDE, row_accounts

from ... import planted
from ...planted import gap

pytestmark = pytest.mark.usefixtures("measured_here")

BAD = "its first atom is on the right"


@pytest.fixture(scope="module")
def model(conditional):
    return load_checkpoint(conditional)


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    """A selector that measures, and a criterion that refuses about half."""
    selector = planted.selector(Errors(1.0, 1, 1, 1, 1), 1000.0)

    def judged(chunk, acceptance):
        right = chunk.molecules.positions[chunk.molecules.offsets[:-1], 0] > 0
        return [Verdict(BAD if bad else "", f"key {number}") for number, bad in enumerate(right.tolist())]

    monkeypatch.setattr(matching, "selector_of", lambda *_: selector)
    monkeypatch.setattr(wishes, "predict", lambda predictor, config, statistics, molecules: {"gap": gap(molecules)})
    monkeypatch.setattr(delivery, "judge", judged)


def table(*values, sizes=()):
    return Targets(("gap",), tuple(((float(value),) * 2,) for value in values), sizes)


def met(model, targets, **more):
    quick = {"accept": "valid", "policy": "synchronous", "steps": 3, "repair_attempts": 0}
    return match(model, targets, seed=3, **{**quick, **more})


def test_every_wish_has_a_row_and_every_attempt_is_accounted_for(model):
    told = []
    matches = met(model, table(500, 1500, 2500, 1000), progress=told.append)
    molecules, rows, ledger = matches
    assert rows["wish"].tolist() == molecules.properties["wish"].tolist() == [1, 2, 3, 4]
    assert len(set(rows["id"].tolist())) == 4
    assert molecules.properties["id"].tolist() == rows["id"].tolist()
    assert np.allclose(rows["predicted_gap"], gap(molecules))
    assert np.allclose(rows["distance"], np.abs(rows["target_gap"] - rows["predicted_gap"]) / 1000)
    assert (ledger.asked, ledger.attempts, ledger.delivered) == (4, 16, 4)
    assert ledger.attempts == sum(told) == ledger.delivered + sum(ledger.refused.values())
    assert set(ledger.refused) == {BAD, SPARE}
    assert molecules.properties["best_of"].tolist() == [4] * 4
    assert molecules.properties["selected_by"].tolist() == ["f"] * 4


def test_equal_seeds_match_equal_molecules_whatever_is_made_at_once(model, same):
    found = [met(model, table(500, 1500, 1000), batch_size=size) for size in (5, 64)]
    assert same(found[0].molecules, found[1].molecules)
    assert found[0].wishes["id"].tolist() == found[1].wishes["id"].tolist()


def test_what_comes_after_the_pool_goes_to_the_wishes_that_are_badly_met(model, monkeypatch):
    """With sizes in the table, attempts tell for which wish they were made."""
    seen = []
    original = delivery.Workshop.deliver

    def spied(shop, request, *more):
        seen.append((request.first, request.num, set(request.targets.rows)))
        return original(shop, request, *more)

    monkeypatch.setattr(delivery.Workshop, "deliver", spied)
    wanted = table(1e9, 1000, 1100)
    met(model, wanted, pool=9, max_attempts=15)
    assert seen[0] == (0, 9, set(wanted.rows))
    assert [(first, num) for first, num, _ in seen[1:]] == [(9, 2), (11, 2), (13, 2)]
    assert all(wanted.rows[0] in rows for *_, rows in seen[1:]), "nobody is as far from its wish as this one"


def test_a_larger_pool_comes_nearer(model):
    wanted = table(*np.linspace(300, 3000, 8))
    few, many = (met(model, wanted, max_attempts=count).wishes["distance"] for count in (16, 96))
    assert np.nanmean(many) < 0.7 * np.nanmean(few)


def test_who_gets_nothing_is_told_why(model):
    _, rows, ledger = met(model, table(500, 500, 500, sizes=(4, 5, 4)), max_attempts=3)
    assert ledger.short
    assert sum(rows["id"] == -1) == 3 - ledger.delivered > 0
    assert set(rows["reason"][rows["id"] == -1]) <= {TOO_FEW, WRONG_ATOMS}
    assert np.isnan(rows["distance"][rows["id"] == -1]).all()
    assert (rows["reason"][rows["id"] >= 0] == "").all()


def test_sizes_of_the_table_are_those_of_the_molecules(model):
    molecules, _, _ = met(model, table(*[1000] * 6, sizes=(4, 5, 6) * 2), max_attempts=48)
    assert len(molecules) == 6
    assert molecules.num_atoms.tolist() == [4, 5, 6] * 2


def test_ranges_are_written_with_both_ends(model):
    ranged = Targets(("gap",), (((0.0, 1e9),), ((700.0, 700.0),)))
    molecules, rows, _ = met(model, ranged)
    assert rows["target_gap_low"].tolist() == [0, 700]
    assert rows["target_gap_high"].tolist() == [1e9, 700]
    assert rows["distance"][0] == 0
    assert not any(name == "target_gap" for name in molecules.properties)


def test_long_tables_are_matched_in_parts_of_their_own(model, monkeypatch):
    monkeypatch.setattr("ead_core.sampling.order.PAIRS", 64)  # at most four wishes and sixteen attempts, or so
    wanted = table(*np.linspace(300, 3000, 8))
    molecules, rows, ledger = met(model, wanted, max_attempts=32)
    assert rows["wish"].tolist() == list(range(1, 9))
    assert ledger.attempts == 32 == ledger.delivered + sum(ledger.refused.values())
    assert max(Counter(molecules.properties["id"].tolist()).values()) == 1
    parts = list(MatchOrder(max_attempts=32).parts(8))
    assert [part.first for part in parts] == np.cumsum([0, *(part.wishes for part in parts)])[:-1].tolist()
    assert sum(part.attempts for part in parts) == 32
    assert sum(part.pool for part in parts) == 16
    assert len(parts) == 2
    assert max(part.wishes * part.attempts for part in parts) <= 64


def test_rows_may_ask_for_several_molecules_and_answers_carry_their_names(model, tmp_path):
    (tmp_path / "t.csv").write_text("gap,count,key\n0:1e9,2,any\n1000,1,near\n-2:-1,2,never\n")
    molecules, rows, ledger = found = met(model, tmp_path / "t.csv", max_attempts=24)
    assert rows["key"].tolist() == ["any", "any", "near", "never", "never"]
    assert rows["wish"].tolist() == [1, 1, 2, 3, 3]
    assert molecules.properties["key"].tolist() == rows["key"][rows["id"] >= 0].tolist()
    assert rows["met"].tolist() == [1, 1, 1, 0, 0]
    assert (ledger.asked, ledger.met) == (5, 3)
    (account,) = row_accounts(found.not_met, read_wishes(tmp_path / "t.csv"))
    assert (account.row, account.key, account.asked, account.met, account.unmet) == (3, "never", 2, 0, 2)
    assert account.best.reason == OUTSIDE
    own = rows["distance"][rows["wish"] == 3]
    assert account.best.distance == own.min() > 0, "the nearer one of its two molecules"
    assert account.told.startswith("row 3 ('never'): 0 of 2 met, because the molecule that came nearest is outside of")


def test_a_table_needs_a_row_and_the_pool_its_place_in_all_attempts(model):
    with pytest.raises(ConfigError, match="pool must be at most max_attempts, 4, not 5"):
        MatchOrder(pool=5, max_attempts=4)
    with pytest.raises(TargetError, match="is not conditioned on 'zpve'"):
        match(model, Targets(("zpve",), (((1.0, 1.0),),)))


@pytest.mark.parametrize(
    ("order", "expected"),
    [({}, (20, 40)), ({"pool": 7}, (7, 14)), ({"max_attempts": 9}, (4, 9)), ({"max_attempts": 1}, (1, 1))],
)
def test_half_of_all_attempts_are_the_pool_unless_it_is_said(order, expected):
    assert MatchOrder(**order).attempts(10) == expected
