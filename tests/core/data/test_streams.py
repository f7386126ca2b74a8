"""Files read a few records at a time hold what they hold when read whole, in bounded memory, and are parsed once."""

import tracemalloc
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest

from ead_core.data import sdf
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.data.streams import batches, molecules_at, read_batches
from ead_core.errors import DataError
from ead_core.evaluation.run import count_records
from ead_core.notes import Note


def chains(*sizes, **properties):
    """Bare carbon atoms in a row."""
    places = np.concatenate([np.arange(size) for size in sizes])
    positions = 1.5 * places[:, None] * np.array([1, 0.6, 0.2])
    return MoleculeSet(np.array(sizes), np.full(sum(sizes), 6), positions, properties)


@pytest.fixture
def molecules():
    made = chains(5, 3, 9, 11, 7, id=np.arange(5), seconds=np.linspace(0, 1, 5))
    broken = made.positions.copy()
    broken[made.offsets[2], 0] = np.nan
    return MoleculeSet(made.num_atoms, made.charges, broken, made.properties)


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".sdf", ".sdf.gz", ".xyz"])
def test_a_stream_holds_what_the_file_holds(molecules, tmp_path, ending):
    path = tmp_path / f"some{ending}"
    write_molecules(molecules, path)
    whole, parts = read_molecules(path), list(read_batches([path], 2))
    assert [len(part.molecules) + len(part.skipped) for part in parts] == [2, 2, 1]
    assert [name for part in parts for name in part.names] == whole.names
    assert [bad for part in parts for bad in part.skipped] == whole.skipped
    assert len(whole.skipped) == 1
    joined = MoleculeSet.concatenate([part.molecules for part in parts])
    np.testing.assert_array_equal(joined.positions, whole.molecules.positions)
    np.testing.assert_array_equal(joined.charges, whole.molecules.charges)
    assert joined.properties.keys() == whole.molecules.properties.keys()
    for name, values in joined.properties.items():
        np.testing.assert_array_equal(values, whole.molecules.properties[name])


def test_records_are_counted_without_being_parsed_and_only_the_wanted_are_parsed(tmp_path, monkeypatch):
    path = tmp_path / "some.sdf"
    write_molecules(chains(5, 3, 9, 8, 4), path)
    parsed, parse = [], sdf._record
    monkeypatch.setattr(sdf, "_record", lambda text: parsed.append(text) or parse(text))
    monkeypatch.setattr("ead_core.data.streams.batches.__defaults__", (2,))
    assert count_records([path]) == 5
    assert parsed == []
    found = molecules_at([path], [2, 77])
    assert {number: len(molecule) for number, molecule in found.items()} == {2: 9}
    assert len(parsed) == 2  # one batch


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".xyz"])
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    sizes, path = np.full(2000, 20), tmp_path / f"many{ending}"
    positions = np.random.default_rng(0).normal(size=(sizes.sum(), 3))
    write_molecules(MoleculeSet(sizes, np.full(sizes.sum(), 6), positions, {"energy": np.arange(2000.0)}), path)
    if ending == ".parquet":
        pq.write_table(pq.read_table(path), path, row_group_size=50)
    tracemalloc.start()
    assert sum(len(report.molecules) for report in read_batches([path], 50)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2000 * 3 * 4  # bytes of the positions alone


def test_stores_of_an_unusual_form_are_read_whole(molecules, tmp_path):
    path = tmp_path / "odd.npz"
    arrays = {"num_atoms": molecules.num_atoms, "charges": molecules.charges}
    np.savez(path, **arrays, positions=np.asfortranarray(molecules.positions))
    found = list(read_batches([path], 2))
    assert [len(report.molecules) + len(report.skipped) for report in found] == [2, 2, 1]
    np.testing.assert_array_equal(found[0].molecules.positions, load_npz(path).select([0, 1]).positions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_atoms": np.array([1, 2])}, "adds up to 3 atoms"),
        ({"num_atoms": np.array([0, 1])}, "sizes of at least 1"),
        ({"charges": None}, "lacks the array"),
        ({"energy": np.zeros(3)}, "property 'energy'"),
        ({"energy": np.array([None, None])}, "not a readable .npz"),
    ],
)
def test_a_wrong_store_says_what_is_wrong(tmp_path, change, message):
    arrays = {"num_atoms": np.array([1, 1]), "charges": np.array([6, 8]), "positions": np.zeros((2, 3)), **change}
    np.savez(tmp_path / "wrong.npz", **{name: values for name, values in arrays.items() if values is not None})
    with pytest.raises(DataError, match=message):
        list(batches([tmp_path / "wrong.npz"]))


def test_a_damaged_store_is_told(molecules, tmp_path):
    path = tmp_path / "damaged.npz"
    save_npz(molecules, path)
    content = bytearray(path.read_bytes())
    place = content.index(b"positions.npy") + 200
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable"):
        list(batches([path]))


def test_a_folder_is_read_in_one_kind_and_in_natural_order(tmp_path):
    for number in (10, 9):
        part = chains(9, 5, id=np.array([number, 0]))
        write_molecules(part, tmp_path / f"shard-{number}.parquet")
        write_molecules(part, tmp_path / f"shard-{number}.sdf.gz")
    (tmp_path / "index.json").write_text("{}")
    with pytest.warns(Note, match=r"only the \.parquet files are read \(2\); left out: \.sdf \(2\)"):
        reports = list(read_batches([tmp_path], 1))
    assert [report.names[0] for report in reports][::2] == ["shard-9.parquet, row 1", "shard-10.parquet, row 1"]
    assert len(reports) == 4


def test_sdf_is_read_in_batches(tmp_path):
    write_molecules(chains(5, 3, 9), tmp_path / "some.sdf")
    assert [len(report.molecules) for report in read_batches([tmp_path / "some.sdf"], 2)] == [2, 1]
    found = molecules_at([tmp_path / "some.sdf"], [2, 0, 77])
    assert {number: len(molecule) for number, molecule in found.items()} == {0: 5, 2: 9}


SIZED_WATER = "3\n{}\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (["n=1", "n=2", "n=x", "n=3", "m=1"], [1, 2, np.nan, 3, np.nan]),
        (["n=1", "n=2", "", "", ""], [1, 2, np.nan, np.nan, np.nan]),
        (["", "", "", "", "n=0.5"], [np.nan] * 4 + [0.5]),
        (["n=1", "n=2", "n=a", "n=b", "n=c"], ["1", "2", "a", "b", "c"]),
        (["n=007", "n=12", "n=13", "n=14", ""], ["007", "12", "13", "14", ""]),
        (["n=5", "n=6", "n=99999999999999999999", "n=7", ""], ["5", "6", "99999999999999999999", "7", ""]),
    ],
)
def test_columns_that_change_from_batch_to_batch_are_joined_as_if_read_whole(tmp_path, comments, expected):
    path = tmp_path / "some.xyz"
    path.write_text("".join(map(SIZED_WATER.format, comments)))
    with warnings.catch_warnings(action="ignore", category=Note):
        joined = MoleculeSet.concatenate([part.molecules for part in read_batches([path], 2)])
    for properties in (joined.properties, read_molecules(path).molecules.properties):
        np.testing.assert_array_equal(properties["n"], np.array(expected))


def test_values_that_do_not_fit_the_joined_column_are_told(tmp_path):
    path = tmp_path / "some.xyz"
    path.write_text("".join(map(SIZED_WATER.format, ["n=1", "n=2", "n=x"])))
    with pytest.warns(Note, match="property 'n': 1 value not readable as a number, left unknown"):
        MoleculeSet.concatenate([part.molecules for part in read_batches([path], 2)])


def test_a_folder_without_molecules_is_told(tmp_path):
    with pytest.raises(DataError, match="without molecule files"):
        list(read_batches([tmp_path]))
