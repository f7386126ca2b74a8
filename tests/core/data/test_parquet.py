"""Tables of molecules: columns of any type and name, transposed positions, and how much a file may grow."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ead_core.common import containers
from ead_core.data import parquet
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.errors import DataError

CORE = {"elements": [[1, 9], [1, 1]], "positions": [[0.0] * 6, [0.0, 0.0, 0.0, 0.0, 0.0, 0.7]]}


def put(folder, columns, name="a.parquet"):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None], pa.int64()), [1, np.nan]),
        (pa.array([1, 2], pa.int8()), [1, 2]),
        (pa.array([2**64 - 1, 0], pa.uint64()), None),
        (pa.array([1.5, None], pa.float16()), [1.5, np.nan]),
        (pa.array([True, None]), [1, np.nan]),
        (pa.array([decimal.Decimal("1.50"), None]), [1.5, np.nan]),
        (pa.array(["007", None]), ["007", ""]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"a", None]), ["a", ""]),
        (pa.array([None, None]), None),
        (pa.array([datetime.date(2026, 1, 1), None]), None),
        (pa.array([2**52, None], pa.timestamp("ms")), None),
        (pa.array([5, None], pa.duration("ns")), None),
    ],
)
def test_columns_of_any_type(tmp_path, values, expected):
    report = read_molecules(put(tmp_path, {**CORE, "x": values, "gap": [3.0, 3.0]}))
    assert report.molecules.properties["gap"].tolist() == [3, 3]
    if expected is not None:
        np.testing.assert_array_equal(report.molecules.properties["x"], expected)


@pytest.mark.parametrize("values", [[[1], [2, 3]], [{"a": 1}, {"a": 2}], [[[1.0]], []]])
def test_nested_columns_are_left_out_and_told(tmp_path, values):
    report = read_molecules(put(tmp_path, {**CORE, "tags": values}))
    assert "tags" not in report.molecules.properties
    assert [(misfit.column, misfit.count) for misfit in report.misfits] == [("tags", 2)]


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_names_without_content_or_with_line_breaks(tmp_path, ending):
    names = ["", " ", "mean\nweight", "mean weight", "x" * 1000, "gap"]
    columns = [pa.array(column) for column in (*CORE.values(), *([[1.0, 2.0]] * len(names)))]
    path = put(tmp_path, pa.Table.from_arrays(columns, names=[*CORE, *names]))
    molecules = read_molecules(path).molecules
    assert list(molecules.properties) == ["unnamed", "unnamed_", "mean weight", "mean weight_", "x" * 255, "gap"]
    write_molecules(molecules, tmp_path / f"b{ending}")
    assert set(read_molecules(tmp_path / f"b{ending}").molecules.properties) == set(molecules.properties)


def test_row_labels_of_pandas_are_no_property(tmp_path):
    frame = pd.DataFrame({**CORE, "gap": [1.0, 2.0]}, index=["a", "b"])
    frame.to_parquet(tmp_path / "a.parquet")
    report = read_molecules(tmp_path / "a.parquet")
    assert list(report.molecules.properties) == ["gap"]
    assert [(m.column, m.reason) for m in report.misfits] == [("__index_level_0__", parquet._ROW_LABELS)]


def test_two_columns_of_one_name_are_told(tmp_path):
    columns = [pa.array(column) for column in (*CORE.values(), [1.0, 2.0], [1.0, 2.0])]
    path = put(tmp_path, pa.Table.from_arrays(columns, names=[*CORE, "gap", "gap"]))
    with pytest.raises(DataError, match=r"a\.parquet has two columns 'gap'; give each a name of its own\.$"):
        read_molecules(path)


@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.float64())), pa.large_list(pa.list_(pa.float32()))])
def test_transposed_positions_are_refused(tmp_path, size, kind):
    positions = pa.array([np.zeros((3, 3)).tolist(), np.zeros((3, size)).tolist()], kind)
    path = put(tmp_path, {"elements": [[1] * 3, [1] * size], "positions": positions})
    sentence = rf"'positions' of .*a\.parquet is transposed: it holds 3 lists of {size} coordinates instead of {size} "
    with pytest.raises(DataError, match=sentence):
        read_molecules(path)


def test_three_atoms_are_lists_of_three_coordinates(tmp_path):
    rows = np.arange(9.0).reshape(3, 3).tolist()
    molecules = read_molecules(put(tmp_path, {"elements": [[1] * 3], "positions": [rows]})).molecules
    np.testing.assert_array_equal(molecules.positions, rows)


def test_uneven_lists_are_a_bad_record(tmp_path):
    positions = [[[0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], [[0.0] * 3, [0.0, 0.0, 0.7]]]
    report = read_molecules(put(tmp_path, {"elements": CORE["elements"], "positions": positions}))
    assert report.skipped == [("a.parquet, row 1", "its positions are not lists of 3 coordinates.")]


def test_fractions_are_no_elements(tmp_path):
    report = read_molecules(put(tmp_path, {**CORE, "elements": [[1.0, 8.5], [1.0, 1.0]]}))
    assert report.skipped == [("a.parquet, row 1", "an atom has no element.")]


def test_rows_that_are_all_equal_are_no_way_to_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(containers.check_growth, "__defaults__", (10**5,))
    number = 50_000
    elements = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(number, np.int8)), 1)
    positions = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3 * number)), 3)
    path = put(tmp_path, {"elements": elements, "positions": positions})
    with pytest.raises(DataError, match=r"a\.parquet unpacks to more than 50 times its size, the most that is read\.$"):
        read_molecules(path)


def test_a_long_text_in_many_rows_is_no_way_either(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "TEXTS", 10**6)
    number = 1000
    columns = {"elements": [[1]] * number, "positions": [[0.0] * 3] * number, "name": ["x" * 5000] * number}
    with pytest.raises(DataError, match=r"a\.parquet unpacks to more than 50 times its size"):
        read_molecules(put(tmp_path, columns))
    monkeypatch.undo()
    assert read_molecules(tmp_path / "a.parquet").molecules.properties["name"].dtype == "<U5000"
