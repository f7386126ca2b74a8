"""What reading leaves out is grouped, counted and told with an example."""

import warnings

import numpy as np

from ead_core.data.losses import MOST, Losses
from ead_core.data.misfits import NO_NUMBER, Misfit
from ead_core.data.records import ReadReport, Skipped
from ead_core.data.store import MoleculeSet

TWO = MoleculeSet(np.ones(2), np.ones(2), np.zeros((2, 3)))


def report(*reasons, misfits=()):
    return ReadReport(TWO, [Skipped(f"record {n}", reason) for n, reason in enumerate(reasons)], misfits=misfits)


def test_records_are_grouped_over_all_parts_by_what_is_wrong_with_them():
    losses = Losses(
        [report("'Xx' is not an element symbol.", "it is empty."), report("'Yy' is not an element symbol.")]
    )
    assert losses.skipped == 3
    assert losses.sentences() == [
        "2 of 7 records skipped: 'Xx' is not an element symbol (record 0 is the first).",
        "1 of 7 records skipped: it is empty (record 1).",
    ]
    assert losses.kinds() == ["2 × … is not an element symbol.", "1 × it is empty."]


def test_columns_are_added_up():
    one, two = Misfit("gap", NO_NUMBER, 1, "'0,25'"), Misfit("gap", NO_NUMBER, 2, "'?'")
    assert Losses([report(misfits=(one,)), report(misfits=(two,))]).sentences() == [
        f"property 'gap': 3 values {NO_NUMBER} (e.g. '0,25')."
    ]


def test_many_kinds_are_not_all_told():
    losses = Losses([report(misfits=tuple(Misfit(f"x{n}", NO_NUMBER, 1, "'?'") for n in range(MOST + 5)))])
    assert losses.misfits()[MOST:] == ["… and 5 more columns."]


def test_nothing_lost_is_nothing_told():
    with warnings.catch_warnings(action="error"):
        Losses([report()]).tell()
