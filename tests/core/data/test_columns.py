"""A column keeps every value as it is, or says which ones it could not take."""

import datetime
from decimal import Decimal

import numpy as np
import pytest

from ead_core.data.columns import fit_cell, join_columns, make_column, make_columns
from ead_core.data.misfits import KEPT_AS_TEXT, NO_NUMBER, NO_SCALAR, TOO_LONG
from ead_core.data.total_charges import CONTRADICTION, NO_TOTAL_CHARGE


def told(misfits):
    return [(misfit.column, misfit.reason, misfit.count, misfit.example) for misfit in misfits]


@pytest.mark.parametrize(
    ("name", "values", "kept"),
    [
        ("id", [4, 5], [4, 5]),
        ("id", ["4", None, "6"], [4, np.nan, 6]),
        ("id", [1.5, 2.5], [1.5, 2.5]),
        ("id", ["ZINC1", "ZINC2"], ["ZINC1", "ZINC2"]),
        ("id", ["99999999999999999999", "5"], ["99999999999999999999", "5"]),
        ("id", [2**64, 5], [2.0**64, 5]),  # a float holds this one
        ("id", [2**64 - 1, 5], [str(2**64 - 1), "5"]),
        ("id", [2**53 + 1, None], [str(2**53 + 1), ""]),  # a float, which the unknown one needs, does not
        ("code", ["007", "010"], ["007", "010"]),
        ("code", ["007", "123", "", "4"], ["007", "123", "", "4"]),
        ("conformer", ["12_3", "45_6"], ["12_3", "45_6"]),
        ("name", [1, 2.5, None], ["1", "2.5", ""]),
        ("name", ["007", "1e5", "nan"], ["007", "1e5", "nan"]),
        ("note", ["aspirin", "123", "64-17-5"], ["aspirin", "123", "64-17-5"]),
        ("energy", ["0.25", "1e-3", "1.0D-01"], [0.25, 0.001, 0.1]),
        ("energy", [Decimal("0.25"), np.float32(0.5), np.int8(3)], [0.25, 0.5, 3]),
        ("energy", [np.nan, None, ""], [np.nan, np.nan, np.nan]),
        ("flag", [True, None, False], [1, np.nan, 0]),
        ("made", [datetime.date(2020, 1, 2), None], ["2020-01-02", ""]),
        ("raw", [b"ab", b"cd"], ["ab", "cd"]),
    ],
)
def test_values_stay_what_they_are(name, values, kept):
    column = make_column(name, values)
    np.testing.assert_array_equal(column.values, np.array(kept))
    assert column.misfits == ()
    assert column.values.dtype.kind == np.array(kept).dtype.kind


@pytest.mark.parametrize(
    ("name", "values", "kept", "misfit"),
    [
        ("energy", ["0.1", "0.2", "0,3"], [0.1, 0.2, np.nan], (NO_NUMBER, 1, "'0,3'")),
        ("energy", ["1", "2", "N/A", "?", "3"], [1, 2, np.nan, np.nan, 3], (NO_NUMBER, 2, "'N/A'")),
        ("gap", ["0.25 Hartree", "0.3", "1 eV"], [np.nan, 0.3, np.nan], (NO_NUMBER, 2, "'0.25 Hartree'")),
        ("mu", ["1.69 D", "1.85 D"], ["1.69 D", "1.85 D"], (KEPT_AS_TEXT, 2, "'1.69 D'")),
        ("alpha", ["31,3", "9,8"], ["31,3", "9,8"], (KEPT_AS_TEXT, 2, "'31,3'")),
        ("mass", ["1,234.5", "12'345.6", None], ["1,234.5", "12'345.6", ""], (KEPT_AS_TEXT, 2, "'1,234.5'")),
        ("energy", ["1", "fine"], ["1", "fine"], (KEPT_AS_TEXT, 1, "'fine'")),
        ("formal_charge", ["1+", None], [np.nan, np.nan], (NO_NUMBER, 1, "'1+'")),
        ("formal_charge", [0.5, -1], [np.nan, -1], (NO_NUMBER, 1, "'0.5'")),
        ("index", [True, 3], [np.nan, 3], (NO_NUMBER, 1, "'True'")),
        ("energy", [0.5, 0.25, 2**64 - 1], [0.5, 0.25, np.nan], (NO_NUMBER, 1, f"'{2**64 - 1}'")),
        ("energy", [0.5, [1, 2], {"a": 1}], [0.5, np.nan, np.nan], (NO_SCALAR, 2, "'[1, 2]'")),
    ],
)
def test_what_does_not_fit_is_counted_and_an_example_is_given(name, values, kept, misfit):
    arrays, misfits = make_columns({name: values})
    np.testing.assert_array_equal(arrays[name], np.array(kept))
    assert told(misfits) == [(name, *misfit)]


def test_a_column_of_lists_alone_is_left_out():
    arrays, misfits = make_columns({"tags": [["x"], None, ["y"]], "energy": [1, 2, 3]})
    assert list(arrays) == ["energy"]
    assert told(misfits) == [("tags", NO_SCALAR, 2, "'['x']'")]


def test_text_of_a_source_with_types_is_text_but_for_the_known_numbers():
    arrays, misfits = make_columns({"zip": ["10115", "20095"], "gap": ["0.25", "0.3"]}, typed=True)
    assert arrays["zip"].tolist() == ["10115", "20095"]
    assert arrays["gap"].tolist() == [0.25, 0.3]
    assert misfits == ()


def test_one_giant_text_does_not_widen_all_the_others():
    texts = ["short"] * 5_000 + ["x" * 1_000_000]
    column = make_column("log", texts)
    assert column.values.nbytes < 1_000_000
    assert (column.values[0], column.values[-1]) == ("short", "")
    assert [(misfit.reason, misfit.count) for misfit in column.misfits] == [(TOO_LONG, 1)]
    assert make_column("log", texts[-3:]).values[-1] == texts[-1]


@pytest.mark.parametrize(
    ("values", "charges", "left", "reasons"),
    [
        ({"charge": ["1", None]}, [1, np.nan], [], []),
        ({"Total Charge": [-1, 0]}, [-1, 0], [], []),
        ({"PUBCHEM_TOTAL_CHARGE": ["+1", "0"]}, [1, 0], [], []),
        ({"formal_charge": [1, None], "charge": [1, 2]}, [1, 2], [], []),
        ({"formal_charge": [1, 1], "charge": [1, 0]}, [1, 1], ["charge"], [CONTRADICTION]),
        ({"charge": ["0.13", "1"]}, None, ["charge"], [NO_TOTAL_CHARGE]),
        ({"charge": [[1, 2], [3, 4]]}, None, [], [NO_SCALAR]),
        ({"charge": np.ones((2, 3))}, None, ["charge"], [NO_TOTAL_CHARGE]),
        ({"charge": ["0.13", "1"], "": [5, 6]}, None, ["charge", ""], [NO_TOTAL_CHARGE]),
    ],
)
def test_the_total_charge_has_one_name_and_contradictions_are_told(values, charges, left, reasons):
    arrays, misfits = make_columns(values)
    if charges is not None:
        np.testing.assert_array_equal(arrays.pop("formal_charge"), charges)
    assert list(arrays) == left
    assert [misfit.reason for misfit in misfits] == reasons


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ([np.array([1, 2]), np.array([3])], [1, 2, 3]),
        ([np.array([1, 2]), None], [1, 2, np.nan]),
        ([None, np.array([0.5])], [np.nan, np.nan, 0.5]),
        ([np.array([1, 2]), np.array([0.5])], [1, 2, 0.5]),
        ([np.array(["a", ""]), None], ["a", "", ""]),
        ([np.array(["a", "b"]), np.array(["longer"])], ["a", "b", "longer"]),
        ([np.array(["a", "b"]), np.array([7])], ["a", "b", "7"]),
        ([np.array([7.0, np.nan]), np.array(["007"])], ["7", "", "007"]),
        ([np.array([7.0, 1.5]), np.array(["x"])], [7, 1.5, np.nan]),
        ([np.ones((2, 3)), None], [[1, 1, 1], [1, 1, 1], [np.nan] * 3]),
    ],
)
def test_batches_of_other_types_are_joined(parts, joined):
    np.testing.assert_array_equal(join_columns("tag", parts, [2, 1]).values, np.array(joined))


def test_arrays_of_other_shapes_are_left_out():
    column = join_columns("spectrum", [np.ones((2, 3)), np.ones(1)], [2, 1])
    assert column.values is None
    assert told(column.misfits) == [("spectrum", NO_SCALAR, 3, "an array of shape (3,)")]


def test_values_for_columns_whose_type_is_given():
    values = [1, 1.0, np.int8(2), np.float32(3), 1.5, True, "1", None, np.nan, np.inf, 10**20, [1], np.array([1, 2])]
    assert [fit_cell(value, int) for value in values] == [1, 1, 2, 3, *[None] * 9]
    assert [fit_cell(value, float) for value in values[:7]] == [1, 1, 2, 3, 1.5, None, None]
    assert [fit_cell(value, str) for value in values[:8]] == ["1", "1", "2", "3", "1.5", "True", "1", None]
    assert [fit_cell(value, float) for value in (10**400, "many", [1.0])] == [None] * 3
