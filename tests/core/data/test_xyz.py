"""Plain and extended xyz as programs write it: elements and positions are found, and nothing else is taken for them."""

from pathlib import Path

import numpy as np
import pytest

from ead_core.data.extxyz import layout_of, parse_comment
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.records import ReadReport
from ead_core.data.store import MoleculeSet
from ead_core.data.streams import read_batches
from ead_core.errors import DataError

WATER = np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])
ATOMS = ("O", "H", "H")
PLAIN_WATER = "3\n\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"
CELL = 'Lattice="12 0 0 0 12 0 0 0 12"'


def read(folder: Path, text: str) -> ReadReport:
    (folder / "a.xyz").write_text(text)
    return read_molecules(folder / "a.xyz")


def frame(comment: str, line: str = "{s} {x} {y} {z}") -> str:
    """Water, each atom on a line of this form."""
    rows = (line.format(s=s, n=8 if s == "O" else 1, x=x, y=y, z=z) for s, (x, y, z) in zip(ATOMS, WATER, strict=True))
    return f"3\n{comment}\n" + "".join(f"{row}\n" for row in rows)


def assert_water(report: ReadReport) -> None:
    assert report.skipped == []
    assert report.molecules.charges.tolist() == [8, 1, 1]
    np.testing.assert_allclose(report.molecules.positions, WATER, atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ("species:S:1:pos:R:3", "{s} {x} {y} {z}"),
        ("species:S:1:forces:R:3:pos:R:3", "{s} 0.1 -0.2 0.3 {x} {y} {z}"),
        ("species:S:1:masses:R:1:pos:R:3", "{s} 12.011 {x} {y} {z}"),
        ("pos:R:3:species:S:1", "{x} {y} {z} {s}"),
        ('"species:S:1:pos:R:3"', "{s} {x} {y} {z}"),
        ("Z:I:1:pos:R:3", "{n} {x} {y} {z}"),
        ("tags:I:1:species:S:1:pos:R:3:charge:R:1", "7 {s} {x} {y} {z} -0.5"),
        ("numbers:I:1:species:S:1:pos:R:3", "{n} {s} {x} {y} {z}"),
        ("move_mask:L:3:positions:R:3:velo:R:3:symbols:S:1", "T F T {x} {y} {z} 1 2 3 {s}"),
        ("id:I:1:species:S:1:label:S:1:pos:R:3:magmoms:R:1", "1 {s} H1 {x} {y} {z} 0.0"),
        ("forces:R:3:pos:R:3:atomic_numbers:I:1", "9 9 9 {x} {y} {z} {n}"),
    ],
)
def test_extended_xyz_goes_by_its_columns(tmp_path, columns, line):
    assert_water(read(tmp_path, frame(f'Properties={columns} energy=-76.4 pbc="F F F"', line)))


@pytest.mark.parametrize(
    ("columns", "line", "sentence"),
    [
        ("species:S:1:forces:R:3", "{s} {x} {y} {z}", "must name elements (species:S:1) and positions (pos:R:3)"),
        ("pos:R:3", "{x} {y} {z}", "must name elements"),
        ("species:S:1:pos:R:2", "{s} {x} {y}", "must name elements"),
        ("species:S:1:pos", "{s} {x} {y} {z}", "must be name:type:number"),
        ("species:S:1:pos:R:three", "{s} {x} {y} {z}", "must be name:type:number"),
        (
            "species:S:1:pos:R:3:forces:R:3",
            "{s} {x} {y} {z}",
            "line 8 must have the 7 columns of its Properties, not 4",
        ),
        ("species:S:1:pos:R:3", "{s} {x} {y} {z} 0", "line 8 must have the 4 columns of its Properties, not 5"),
        ("pos:R:3:species:S:1", "{s} {x} {y} {z}", "line 8 must be 'x y z element', not 'O 0.0 0.0 0.1173'"),
    ],
)
def test_columns_that_do_not_fit_are_told(tmp_path, columns, line, sentence):
    report = read(tmp_path, PLAIN_WATER + frame(f"Properties={columns}", line))
    assert len(report.molecules) == 1
    assert sentence in report.skipped[0].reason


def test_a_column_of_counters_is_not_taken_for_elements(tmp_path):
    line = "{count} 6 0.0 0.0 {count}\n"
    text = "5\n\n" + "".join(line.format(count=count) for count in range(1, 6))
    assert "counts the atoms" in read(tmp_path, PLAIN_WATER + text).skipped[0].reason


@pytest.mark.parametrize(
    "comment",
    [
        f'{CELL} pbc="F F F"',
        'pbc="F F F"',
        f"{CELL} pbc=[False, False, False]",
        'pbc="0 0 0"',
        "pbc=FFF",
        "lattice=diamond",
    ],
)
def test_a_cell_that_is_not_repeated_is_no_matter(tmp_path, comment):
    report = read(tmp_path, frame(comment))
    assert_water(report)
    assert report.misfits == ()


@pytest.mark.parametrize(
    "comment", [CELL, f'{CELL} pbc="T T T"', f'{CELL} pbc="T F F"', 'pbc="T T T"', "pbc=T", CELL.lower()]
)
def test_a_molecule_in_a_periodic_box_is_read_and_told(tmp_path, comment):
    report = read(tmp_path, frame(comment))
    assert_water(report)
    assert [(misfit.column, misfit.count) for misfit in report.misfits] in ([("Lattice", 1)], [("pbc", 1)])
    assert "periodic cell" in report.misfits[0].sentence


@pytest.mark.parametrize(
    ("comment", "sentence"),
    [
        ('Lattice="2.8 0 0 0 2.8 0 0 0 2.8" pbc="T T T"', "it is periodic and reaches its own images"),
        ('Lattice="20 0 0 0 4 0 0 0 20"', "it is periodic"),
        ('Lattice="20 0 0 0 20 0 0 0 2" pbc="F F T"', "it is periodic"),
        ("Lattice=[[20, 0, 0], [0, 4, 0], [0, 0, 20]]", "it is periodic"),
        ('Lattice="1 2 3"', "its Lattice must be nine numbers, not '1 2 3'"),
        ('Lattice="1 0 0 1 0 0 0 0 1"', "its Lattice has no volume"),
        ('pbc="yes no"', "its pbc must be three of T and F, not 'yes no'"),
    ],
)
def test_crystals_are_refused(tmp_path, comment, sentence):
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, frame(comment))


@pytest.mark.parametrize(
    ("comment", "properties"),
    [
        ("charge=1 methylammonium", {"charge": "1"}),
        ("charge = -1", {"charge": "-1"}),
        ("charge=1, energy=-40.5", {"charge": "1", "energy": "-40.5"}),
        ("charge=1,energy=-4.05E+1;spin=2", {"charge": "1", "energy": "-4.05E+1", "spin": "2"}),
        ("gap=6.8 eV mu=1.2 D, x=1", {"gap": "6.8 eV", "mu": "1.2 D", "x": "1"}),
        ("smiles=[H]C(=O)O index=3", {"smiles": "[H]C(=O)O", "index": "3"}),
        (r'name="a \"b\" c\nd" id="007"', {"name": 'a "b" c\nd', "id": "007"}),
        ("note='it is' dipole=\"0 0 1\"", {"note": "it is", "dipole": "0 0 1"}),
        ("list=[1, 2] set={3 4}", {"list": "[1, 2]", "set": "{3 4}"}),
        ('"my key"=5 "a=b"=6', {"my key": "5", "a=b": "6"}),
        ("energy: -5.07 gnorm: 0.0006 xtb", {}),
        ("", {}),
    ],
)
def test_comments(comment, properties):
    assert parse_comment(comment).properties == properties


def test_key_value_pairs_become_properties_of_their_types(tmp_path):
    text = frame('charge=1 energy=-76.4 SMILES=O id="007" n=3') + frame("total_charge=-1 n=5 note=fine")
    properties = read(tmp_path, text).molecules.properties
    assert {name: values.tolist() for name, values in properties.items() if name != "energy"} == {
        "formal_charge": [1, -1],
        "smiles": ["O", ""],
        "id": ["007", ""],
        "n": [3, 5],
        "note": ["", "fine"],
    }
    np.testing.assert_array_equal(properties["energy"], [-76.4, np.nan])


def test_our_own_comments_are_read_back(tmp_path):
    known = {"index": np.array([3]), "gap": np.array([0.25]), "name": np.array(["a b"]), "smiles": np.array(["C=O"])}
    water = MoleculeSet(np.array([3]), np.array([8, 1, 1]), WATER, {**known, "formal_charge": np.array([-1])})
    write_molecules(water, tmp_path / "b.xyz")
    found = read_molecules(tmp_path / "b.xyz").molecules.properties
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in water.properties.items()
    }


@pytest.mark.parametrize("symbol", ["D", "T", "d", "t", "h", "H", "1", "001"])
def test_every_hydrogen(tmp_path, symbol):
    assert_water(read(tmp_path, PLAIN_WATER.replace("H ", f"{symbol} ")))


@pytest.mark.parametrize(
    "text",
    [
        PLAIN_WATER.replace("0.1173", "0.1173D+00").replace("-0.4692", "-4.692d-01"),
        PLAIN_WATER.replace("0.1173", "1.173*^-1"),
        "\ufeff" + PLAIN_WATER,
        PLAIN_WATER.replace("\n", "\r\n"),
        PLAIN_WATER.replace("\n", "\r"),
        PLAIN_WATER.replace("3\n\n", "3\npage\fbreak, \x85 and \u2028\n"),
        "\f" + PLAIN_WATER,
        PLAIN_WATER.replace(" 0 ", "\t0\t"),
        "  \n\t\n" + PLAIN_WATER + "   \n \t \n\n",
    ],
)
def test_spellings_and_line_ends_whole_and_in_batches(tmp_path, text):
    (tmp_path / "a.xyz").write_bytes((text + PLAIN_WATER).encode())
    whole = read_molecules(tmp_path / "a.xyz")
    assert whole.skipped == []
    assert whole.molecules.charges.tolist() == [8, 1, 1] * 2
    np.testing.assert_allclose(whole.molecules.positions, np.tile(WATER, (2, 1)), atol=1e-6)
    parts = list(read_batches([tmp_path / "a.xyz"], 1))
    assert [part.names for part in parts] == [[name] for name in whole.names]


def test_underscores_are_no_digits(tmp_path):
    report = read(tmp_path, PLAIN_WATER + PLAIN_WATER.replace("0.7572", "0.75_72"))
    assert "must be 'element x y z', not 'H 0 0.75_72 -0.4692'" in report.skipped[0].reason


def test_layouts():
    assert layout_of("species:S:1:masses:R:1:pos:R:3") == (5, 0, 2)
    assert layout_of("pos:R:3:Z:I:1:forces:R:3") == (7, 3, 0)
