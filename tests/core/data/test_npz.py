"""Molecules in `.npz` files of several layouts, and what such files may claim."""

import io
import struct
import zipfile

import numpy as np
import pytest

from ead_core.common import containers
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet, load_npz
from ead_core.data.streams import read_batches
from ead_core.errors import DataError
from ead_core.notes import Note

SIZES = np.array([3, 1, 2])
CHARGES = np.array([[8, 1, 1], [6, 0, 0], [1, 1, 0]])
POSITIONS = np.arange(27.0).reshape(3, 3, 3)
FLAT = CHARGES[CHARGES > 0]


def put(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def both_ways(path):
    whole = read_molecules(path)
    parts = list(read_batches([path], 2))
    joined = MoleculeSet.concatenate([part.molecules for part in parts])
    np.testing.assert_array_equal(joined.positions, whole.molecules.positions)
    assert [bad for part in parts for bad in part.skipped] == whole.skipped
    return whole


@pytest.mark.parametrize(
    "arrays",
    [
        {"num_atoms": SIZES, "charges": CHARGES, "positions": POSITIONS},
        {"num_atoms": SIZES.astype(float), "charges": CHARGES[..., None].astype(float), "positions": POSITIONS},
        {"charges": CHARGES.astype(np.int8), "positions": np.asfortranarray(POSITIONS)},
        {"numbers": CHARGES, "coordinates": POSITIONS},
        {"Z": CHARGES, "R": POSITIONS, "charges": np.full((3, 3), 0.1)},
    ],
)
def test_padded_rows(tmp_path, arrays):
    found = both_ways(put(tmp_path, **arrays, gap=np.array([0.1, 0.2, 0.3]), E=np.ones((3, 1)))).molecules
    assert found.num_atoms.tolist() == [3, 1, 2]
    assert found.charges.tolist() == FLAT.tolist()
    np.testing.assert_array_equal(found.positions[4:], POSITIONS[2, :2])
    assert found.properties["gap"].tolist() == [0.1, 0.2, 0.3]
    assert found.properties["E"].tolist() == [1, 1, 1]


def test_geometries_of_one_molecule(tmp_path):
    arrays = {"z": np.array([8, 1, 1], np.uint8), "R": POSITIONS, "E": np.ones((3, 1)), "F": POSITIONS}
    with pytest.warns(Note, match="what is not per molecule is left out: name, theory"):
        report = read_molecules(put(tmp_path, **arrays, name="water", theory=np.array("PBE")))
    assert report.molecules.charges.tolist() == [8, 1, 1] * 3
    assert set(report.molecules.properties) == {"E"}
    assert [misfit.column for misfit in report.misfits] == ["F"]


def test_padding_that_contradicts_the_sizes_is_a_bad_record(tmp_path):
    report = both_ways(put(tmp_path, num_atoms=[3, 2, 2], charges=CHARGES, positions=POSITIONS))
    assert report.skipped == [("a.npz, molecule 2", "it should have 2 atoms, but 1 have an atomic number.")]
    empty = both_ways(put(tmp_path, charges=CHARGES * [[1], [0], [1]], positions=POSITIONS, gap=np.arange(3.0)))
    assert empty.skipped == [("a.npz, molecule 2", "it has no atoms.")]
    assert empty.molecules.properties["gap"].tolist() == [0, 2]


@pytest.mark.parametrize("wrong", [6.5, np.nan, np.inf, -1, 1e30, 0.0])
def test_atomic_numbers_that_are_none_are_bad_records(tmp_path, wrong):
    charges = FLAT.astype(float)
    charges[3] = wrong
    positions = np.zeros((6, 3))
    report = both_ways(put(tmp_path, num_atoms=SIZES, charges=charges, positions=positions))
    assert report.molecules.charges.tolist() == [8, 1, 1, 1, 1]
    assert report.skipped == [("a.npz, molecule 2", "an atom has no element.")]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"positions": POSITIONS}, r"lacks the array\(s\) num_atoms, charges of the molecule store; it has positions"),
        ({"x": [1]}, r"lacks the array\(s\) num_atoms, charges, positions of the molecule store; it has x \[1\]"),
        ({"charges": CHARGES, "positions": np.zeros((3, 3, 5))}, r"'positions' .* must be \[molecules, atoms, 3\]"),
        ({"num_atoms": SIZES, "charges": CHARGES, "positions": np.zeros((2, 3, 3))}, "do not fit each other"),
        ({"num_atoms": [1.5], "charges": [6], "positions": np.zeros((1, 3))}, "sizes of at least 1"),
        ({"num_atoms": [2**62, 2**62], "charges": [6], "positions": np.zeros((1, 3))}, "sizes of at least 1"),
        ({"num_atoms": [[1]], "charges": [6], "positions": np.zeros((1, 3))}, "flat list"),
        ({"num_atoms": ["1"], "charges": [6], "positions": np.zeros((1, 3))}, "sizes of at least 1"),
        ({"num_atoms": [1], "charges": np.array([None]), "positions": np.zeros((1, 3))}, "holds Python objects"),
    ],
)
def test_other_layouts_are_one_sentence(tmp_path, arrays, sentence):
    with pytest.raises(DataError, match=sentence):
        read_molecules(put(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", np.zeros((3, 2))),
        ("tag", np.array(["a", "b", "c"])),
        ("bytes", np.array([b"a", b"b", b"c"])),
        ("flag", np.array([True, False, True])),
        ("when", np.array(["2026-01-01", "NaT", "2026-01-03"], dtype="datetime64[D]")),
        ("wave", np.array([1j, 2, 3])),
        ("pair", np.array([(1, 2.0)] * 3, dtype=[("a", "i4"), ("b", "f8")])),
        ("large", np.array([2**64 - 1, 0, 1], dtype=np.uint64)),
        ("half", np.array([1, np.nan, 3], dtype=np.float16)),
        ("empty", np.zeros((3, 0))),
    ],
)
def test_columns_of_any_type_are_no_traceback(tmp_path, name, values):
    report = both_ways(
        put(tmp_path, num_atoms=SIZES, charges=FLAT, positions=np.zeros((6, 3)), gap=np.ones(3), **{name: values})
    )
    assert len(report.molecules) == 3
    assert "gap" in report.molecules.properties
    assert name in report.molecules.properties or [misfit.column for misfit in report.misfits] == [name]


def test_sets_take_whole_numbers_only():
    with pytest.raises(DataError, match=r"charges must be whole numbers"):
        MoleculeSet(np.array([1]), np.array([6.5]), np.zeros((1, 3)))
    with pytest.raises(DataError, match=r"num_atoms must be whole numbers"):
        MoleculeSet(np.array([np.nan]), np.array([6]), np.zeros((1, 3)))


def lying(path, arrays, method=zipfile.ZIP_DEFLATED):
    """An archive of (dtype, shape, bytes) by name, whatever the header claims."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, (dtype, shape, content) in arrays.items():
            header = io.BytesIO()
            claim = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, claim)
            archive.writestr(f"{name}.npy", header.getvalue() + content)
    return path


GOOD = {
    "num_atoms": ("<i8", (1,), struct.pack("<q", 1)),
    "charges": ("<i8", (1,), struct.pack("<q", 6)),
    "positions": ("<f4", (1, 3), bytes(12)),
}


@pytest.mark.parametrize(
    "change",
    [
        {"num_atoms": ("<i8", (2**40,), bytes(8))},
        {"positions": ("<f4", (2**40, 3), bytes(12))},
        {"charges": ("<i8", (-1,), bytes(8))},
        {"gap": ("<f8", (2**62,), b"")},
        {"name": ("<U0", (2**40,), b"")},
        {"positions": ("<f4", (1, 3), bytes(11))},
    ],
)
@pytest.mark.parametrize("load", [read_molecules, load_npz])
def test_headers_that_lie_are_told_before_anything_is_read(tmp_path, change, load):
    with pytest.raises(DataError, match=r"is not a readable \.npz file \(its array '\w+' claims to be .* but has"):
        load(lying(tmp_path / "a.npz", GOOD | change))


def test_what_grows_without_bound_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(containers.check_growth, "__defaults__", (10**5,))
    number = 10**5
    arrays = {"num_atoms": [number], "charges": np.ones(number, np.uint8), "positions": np.zeros((number, 3))}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=r"a\.npz unpacks to more than 50 times its size, the most that is read\.$"):
        read_molecules(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **arrays)
    assert read_molecules(tmp_path / "a.npz").molecules.num_atoms.tolist() == [number]


def test_other_packings_are_told(tmp_path):
    with pytest.raises(DataError, match="it is packed in another way than numpy does"):
        read_molecules(lying(tmp_path / "a.npz", GOOD, zipfile.ZIP_LZMA))
