"""Tables whose rows ask for several molecules, have names, or ask for formulas."""

import math

import numpy as np
import pandas as pd
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.data.target_tables import read_wishes
from ead_core.data.targets import Targets
from ead_core.data.wish_tables import KEY, WishTable

ROWS = Targets(("gap",), (((1.0, 1.0),), ((2.0, 2.0),), ((3.0, 3.0),)))
TABLE = WishTable(ROWS, (2, 1, 3), ("a", "b", "c"))


def gaps(targets):
    return targets.arrays[0][:, 0].tolist()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_row_says_how_many_molecules_it_asks_for_and_what_it_is_called(tmp_path, ending):
    frame = pd.DataFrame({"gap": [6500.0, 5500, 5000], "count": [2, np.nan, 3], "key": ["007", "b c", "x"]})
    path = tmp_path / f"t{ending}"
    frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
    table = read_wishes(path)
    assert (table.counts, table.keys, table.total) == ((2, 1, 3), ("007", "b c", "x"), 6)
    assert table.targets.names == ("gap",)
    assert [table.asked(row) for row in range(3)] == [2, 1, 3]


def test_numbers_of_a_parquet_file_are_names_without_decimals(tmp_path):
    pd.DataFrame({"gap": [1.0, 2.0], "key": [7.0, 8.0]}).to_parquet(tmp_path / "t.parquet")
    assert read_wishes(tmp_path / "t.parquet").keys == ("7", "8")


def test_wishes_are_numbered_through_the_rows():
    assert TABLE.rows_of(range(6)).tolist() == [0, 0, 1, 2, 2, 2]
    assert TABLE.rows_of([6, 13]).tolist() == [0, 0], "after the last wish comes the first"
    assert gaps(TABLE.wishes(range(1, 5))) == [1, 2, 3, 3]
    assert gaps(WishTable(ROWS).wishes(range(3))) == [1, 2, 3]


@pytest.mark.parametrize(("first", "num"), [(0, 6), (0, 4), (4, 2), (1, 3), (3, 3)])
def test_every_part_of_the_molecules_is_asked_for_what_their_rows_ask(first, num):
    """Requests give the molecule with id i the row i mod R of their targets."""
    part = TABLE.cycled(first, num)
    ids = range(first, first + num)
    assert [gaps(part)[number % num] for number in ids] == [gaps(ROWS)[row] for row in TABLE.rows_of(ids)]
    assert WishTable(ROWS).cycled(first, num) is ROWS


def test_molecules_carry_the_keys_of_their_rows():
    molecules = MoleculeSet.from_lists([np.array([6])] * 2, [np.zeros((1, 3))] * 2)
    assert TABLE.named(molecules, np.array([2, 0])).properties[KEY].tolist() == ["c", "a"]
    assert KEY not in WishTable(ROWS).named(molecules, np.array([2, 0])).properties


def test_a_billion_molecules_of_a_row_take_no_memory():
    many = WishTable(ROWS, (10**9, 1, 10**9))
    assert many.total == 2 * 10**9 + 1
    assert many.rows_of([10**9 - 1, 10**9, 10**9 + 1]).tolist() == [0, 1, 2]


def test_a_formula_wants_what_it_does_not_name_to_be_absent(tmp_path):
    (tmp_path / "t.csv").write_text("composition,gap\nCH4,1\n,2\nH2O,3\n")
    targets = read_wishes(tmp_path / "t.csv", (1, 6, 7, 8)).targets
    assert targets.names == ("gap", "atoms_H", "atoms_C", "atoms_N", "atoms_O")
    low, high = targets.arrays
    assert low[0].tolist() == high[0].tolist() == [1, 4, 1, 0, 0]
    assert [math.isnan(each) for each in low[1]] == [False, True, True, True, True]
    assert low[2].tolist() == [3, 2, 0, 0, 1]
