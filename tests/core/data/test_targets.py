"""Targets are read from words, numbers and tables, and every mistake is one sentence."""

import math

import numpy as np
import pandas as pd
import pytest

from ead_core.data.target_tables import gather_wishes, read_wishes
from ead_core.data.targets import TargetError, Targets, parse_targets
from ead_core.errors import DataError, EADError

ELEMENTS = (1, 6, 7, 8)


def bounds(targets):
    return {name: targets.rows[0][index] for index, name in enumerate(targets.names)}


def test_values_and_ranges_on_the_command_line():
    targets = parse_targets(["gap=6500", "mu = 1:3", "homo=-7000:-6500.5"])
    assert bounds(targets) == {"gap": (6500, 6500), "mu": (1, 3), "homo": (-7000, -6500.5)}
    assert parse_targets([]) is None


def test_values_and_ranges_in_python():
    targets = Targets.of({"gap": 6500, "mu": (1, 3), "alpha": [np.float32(75), 80]})
    assert bounds(targets) == {"gap": (6500, 6500), "mu": (1, 3), "alpha": (75, 80)}


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("gap", "target 'gap' must have the form property=value or property=low:high, e.g. gap=6500."),
        ("=5", "target '=5' must have the form property=value"),
        ("gap=high", "target gap must be a number or low:high, not 'high'."),
        ("gap=", "target gap must be a number or low:high, not ''."),
        ("gap=1:2:3", "target gap must be a number or low:high, not '1:2:3'."),
        ("gap=nan", "target gap must be a number or low:high, not 'nan'."),
        ("gap=1e300", "target gap must be a number or low:high, not '1e300'."),
        ("mu=3:1", "target mu must go from a low to a high number, not from 3 to 1."),
    ],
)
def test_a_wrong_item_is_one_sentence(item, sentence):
    with pytest.raises(TargetError) as error:
        parse_targets([item])
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("wish", ["6500", None, True, [1], [1, 2, 3], [1, "2"], math.inf, 10**400, [3, 1], {}])
def test_what_is_no_wish_is_refused_in_python(wish):
    with pytest.raises(TargetError, match="target gap must") as error:
        Targets.of({"gap": wish})
    assert error.value.property == "gap"


def test_a_property_is_given_once():
    with pytest.raises(TargetError, match="target gap is given twice"):
        parse_targets(["gap=1", "gap=2"])


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_has_a_row_per_molecule_and_empty_cells_are_open(tmp_path, ending):
    frame = pd.DataFrame({"gap": [6500.0, np.nan, 7000], "num_atoms": [np.nan, 15, 18], "mu": [1, 2, 3]})
    path = tmp_path / f"targets{ending}"
    frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
    targets = read_wishes(path).targets
    low, high = targets.arrays
    assert targets.names == ("gap", "mu")
    assert np.array_equal(low, [[6500, 1], [np.nan, 2], [7000, 3]], equal_nan=True)
    assert np.array_equal(low, high, equal_nan=True)
    assert targets.fixed_sizes.tolist() == [0, 15, 18]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_cell_may_be_a_range(tmp_path, ending):
    frame = pd.DataFrame({"gap": ["6500", "6000:7000", None, " 1e3 : 2e3"], "mu": [1.0, 2.0, 3.0, 4.0]})
    path = tmp_path / f"targets{ending}"
    frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
    low, high = read_wishes(path).targets.arrays
    assert np.array_equal(low[:, 0], [6500, 6000, np.nan, 1000], equal_nan=True)
    assert np.array_equal(high[:, 0], [6500, 7000, np.nan, 2000], equal_nan=True)


def test_lines_of_commas_are_open_rows_but_not_at_the_ends_where_spreadsheets_add_them(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",\ngap,mu\n,\n6500,1\n,\n\n7000,2\n,\n,\n")
    low, _ = read_wishes(path).targets.arrays
    assert np.array_equal(low, [[np.nan] * 2, [6500, 1], [np.nan] * 2, [7000, 2]], equal_nan=True)


def test_columns_are_numbers_ranges_and_what_is_open():
    targets = Targets.of_columns({"gap": [6500, (6000, 7000), None], "mu": np.array([np.nan, 1.0, 2.0])})
    low, high = targets.arrays
    assert np.array_equal(low, [[6500, np.nan], [6000, 1], [np.nan, 2]], equal_nan=True)
    assert np.array_equal(high, [[6500, np.nan], [7000, 1], [np.nan, 2]], equal_nan=True)
    assert targets.limited.tolist() == [[False, False], [True, False], [False, False]]
    for wrong in ({}, {"gap": []}, {"gap": [1], "mu": [1, 2]}):
        with pytest.raises(TargetError, match="a table of targets needs at least one column and one row, and columns"):
            Targets.of_columns(wrong)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("gap\n7000:6000\n", "a range in column 'gap' of FILE must be low:high, not '7000:6000' (row 1)."),
        ("gap\n6000:\n", "a range in column 'gap' of FILE must be low:high, not '6000:' (row 1)."),
        ("gap\n1:2:3\n", "a range in column 'gap' of FILE must be low:high, not '1:2:3' (row 1)."),
        ("gap\n1:x\n", "column 'gap' of FILE must hold numbers, not 'x' (row 1)."),
        ("gap,num_atoms\n1,4:5\n", "column 'num_atoms' of FILE must hold numbers of atoms, not 4:5 (row 1)."),
        ("gap\n6500\nhigh\n", "column 'gap' of FILE must hold numbers, not 'high' (row 2)."),
        ("gap\n1e300\n", "column 'gap' of FILE must hold numbers below 1e+12, not '1e300' (row 1)."),
        ("gap\n0:-2e12\n", "column 'gap' of FILE must hold numbers below 1e+12, not '-2e12' (row 1)."),
        ("gap\ninf\n", "column 'gap' of FILE must hold numbers, not 'inf' (row 1)."),
        ("gap\nTrue\n", "column 'gap' of FILE must hold numbers, not 'True' (row 1)."),
        ("gap,num_atoms\n1,2.5\n", "column 'num_atoms' of FILE must hold numbers of atoms, not 2.5 (row 1)."),
        ("gap,num_atoms\n1,0\n", "column 'num_atoms' of FILE must hold numbers of atoms, not 0 (row 1)."),
        (
            "gap,count\n1,2\n2,0\n",
            "column 'count' of FILE must hold numbers of molecules up to 1,000,000,000, not 0 (",
        ),
        (
            "gap,count\n1,1.5\n",
            "column 'count' of FILE must hold numbers of molecules up to 1,000,000,000, not 1.5 (",
        ),
        (
            "gap,count\n1,1:2\n",
            "column 'count' of FILE must hold numbers of molecules up to 1,000,000,000, not 1:2 (",
        ),
        (
            "gap,count\n1,2e9\n",
            "column 'count' of FILE must hold numbers of molecules up to 1,000,000,000, not 200000",
        ),
        ("gap,key\n1,a\n2,\n", "column 'key' of FILE must have a text of 1 to 255 characters in row 2."),
        (f"gap,key\n1,{'a' * 256}\n", "column 'key' of FILE must have a text of 1 to 255 characters in row 1."),
        ("gap,key\n1,a\n2,b\n3,a\n", "column 'key' of FILE must tell the rows apart, but rows 1 and 3 are both 'a'."),
        (
            "composition\nC7H10O2\nwater\n",
            "column 'composition' of FILE must hold formulas such as C7H10O2, not 'wate",
        ),
        (
            "composition,atoms_C\nCH4,2\n",
            "FILE asks for atoms in two ways, in 'composition' and in 'atoms_C'; give",
        ),
        ("gap\n", "FILE has no rows; a table of targets has one per molecule."),
        ("gap, gap \n1,2\n", "FILE has two columns 'gap'."),
        ("", "table FILE cannot be read (No columns to parse from file)."),
        ("gap\n1\n2,3\n", "table FILE cannot be read ("),
        ("gap\n1,2\n3,4\n", "table FILE cannot be read (a row has more cells than the header)."),
        ("gap;mu\n6500;1,0\n", "table FILE is separated by semicolons; write commas between cells and decimal points."),
        ("gap\tmu\n6500\t1\n", "table FILE is separated by tabs;"),
        ("gap|mu\n6500|1\n", "table FILE is separated by bars;"),
        (",gap\n0,6500\n", "column 1 of FILE has no name; every column must be a property (pandas: index=False)."),
        ("gap,\n6500,1\n", "column 2 of FILE has no name;"),
        ("gap,gap\n1,2\n", "FILE has two columns 'gap'."),
        ('gap\n"6,5"\n', "column 'gap' of FILE must hold numbers, not '6,5' (row 1)."),
        ("gap\n1_000\n", "column 'gap' of FILE must hold numbers, not '1_000' (row 1)."),
        ('gap\n"6500\n', "table FILE cannot be read (unexpected end of data)."),
        ("gap\n" + "1" * 200_000 + "\n", "table FILE cannot be read (field larger than field limit (131072))."),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "targets.csv"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        read_wishes(path)
    assert str(error.value).startswith(sentence.replace("FILE", str(path)))
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there_or_of_another_kind_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"t\.csv cannot be read \(No such file or directory\)\."):
        read_wishes(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t\.xlsx is of an unknown kind; a table of targets must end in \.parquet or"):
        read_wishes(tmp_path / "t.xlsx")
    (tmp_path / "t.parquet").write_text("no parquet")
    with pytest.raises(DataError, match=r"t\.parquet is not a readable parquet file \("):
        read_wishes(tmp_path / "t.parquet")


def test_items_and_composition_are_added_to_every_row_of_a_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("gap\n1\n2\n")
    targets = gather_wishes(["mu=1:3"], path, "C7H10O2", ELEMENTS).targets
    assert targets.names == ("gap", "mu", "atoms_H", "atoms_C", "atoms_N", "atoms_O")
    assert targets.rows[1] == ((2, 2), (1, 3), (10, 10), (7, 7), (0, 0), (2, 2))
    assert gather_wishes([], None, "C7F2", ELEMENTS).targets.names[-1] == "atoms_F"  # for the model to refuse
    assert gather_wishes([], None, None, ELEMENTS) is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((["gap=1"], "TABLE", None), "target gap is given by --target and by TABLE; give it once."),
        ((["atoms_C=1"], None, "CH4"), "target atoms_C is given by --composition and by --target; give it once."),
        (([], None, "water"), "--composition: 'water' is no formula such as C7H10O2."),
    ],
)
def test_what_is_given_in_two_ways_or_is_no_formula_is_refused(tmp_path, arguments, sentence):
    items, table, composition = arguments
    if table:
        table = tmp_path / "t.csv"
        table.write_text("gap\n1\n")
    with pytest.raises(EADError) as error:
        gather_wishes(items, table, composition, ELEMENTS)
    assert str(error.value) == sentence.replace("TABLE", str(table))


def test_targets_as_plain_values():
    assert Targets.of({"gap": 6500, "mu": (1, 3)}).to_json() == {"gap": 6500.0, "mu": [1.0, 3.0]}
    many = Targets(("gap",), (((1.0, 1.0),), ((math.nan, math.nan),)))
    other = Targets(("gap",), (((1.0, 1.0),), ((2.0, 2.0),)))
    assert many.to_json()["rows"] == 2
    assert many.to_json() != other.to_json()
    assert Targets((), ((),), (5,)).to_json() != Targets((), ((),), (6,)).to_json()


def test_tables_in_any_encoding_with_quotes_and_blanks(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf"gap", mu\r\n"6500", 1.5D0\r\n\r\nNaN\r\n')
    targets = read_wishes(tmp_path / "t.csv").targets
    assert targets.names == ("gap", "mu")
    assert np.array_equal(targets.arrays[0], [[6500, 1.5], [np.nan, np.nan]], equal_nan=True)
