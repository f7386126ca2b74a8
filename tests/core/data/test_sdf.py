"""SDF as it is in the world: fields, titles, charges, isotopes, and planar molecules that are no drawings."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ead_core.data.formats import read_molecules
from ead_core.data.records import ReadReport
from ead_core.data.streams import read_batches
from ead_core.data.total_charges import CONTRADICTION

PROGRAM = "     RDKit          3D"


def read(folder: Path, text: str) -> ReadReport:
    (folder / "a.sdf").write_text(text, newline="")
    return read_molecules(folder / "a.sdf")


def molfile(*atoms: str, title: str = "", program: str = PROGRAM, bonds: tuple[str, ...] = (), extra: str = "") -> str:
    """V2000; `atoms` are `symbol x y z`, `bonds` are `1 2 1`."""
    rows = [atom.split() for atom in atoms]
    places = "".join(f"{float(x):10.4f}{float(y):10.4f}{float(z):10.4f} {s:<3} 0  0\n" for s, x, y, z in rows)
    links = "".join("".join(f"{int(number):3d}" for number in bond.split()) + "\n" for bond in bonds)
    counts = f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000"
    return f"{title}\n{program}\n\n{counts}\n{places}{links}{extra}M  END\n"


def water(fields: str = "", **options: str) -> str:
    atoms = ("O 0 0 0.1173", "H 0 0.7572 -0.4692", "H 0 -0.7572 -0.4692")
    return molfile(*atoms, bonds=("1 2 1", "1 3 1"), **options) + fields + "$$$$\n"


def properties(report: ReadReport) -> dict[str, list]:
    assert report.skipped == []
    return {name: values.tolist() for name, values in report.molecules.properties.items()}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (">  <mu>\n1.69\n\n>  <alpha>\n31.3\n\n", {"mu": 1.69, "alpha": 31.3}),
        (">  <mu>\n1.69\n \n>  <alpha>\n31.3\n\t\n", {"mu": 1.69, "alpha": 31.3}),
        (">  <mu>\n1.69\n>  <alpha>\n31.3\n", {"mu": 1.69, "alpha": 31.3}),
        (">  <note>\none\n\ntwo\n\n>  <mu>\n1.69\n\n", {"note": "one\n\ntwo", "mu": 1.69}),
        (">  <price>\n$$$$ 4\n\n>  <mu>\n1.69\n\n", {"price": "$$$$ 4", "mu": 1.69}),
        (">  <price>\n$$$$\n\n>  <mu>\n1.69\n\n", {"price": "$$$$", "mu": 1.69}),
        (">  <limit>\n>10000\n\n>  <mu>\n1.69\n\n", {"limit": ">10000", "mu": 1.69}),
        (">  <a<b> (7)\nx\n\n> 25 <mu> (REG)\n1.69\n\n", {"a<b": "x", "mu": 1.69}),
        (">  <SMILES>\nO\n\n>  <Name>\n123\n\n", {"smiles": "O", "name": "123"}),
        (">  <charges>\n1\n\n>  <charges_>\n2\n\n>  <>\n3\n\n", {"charges__": 1, "charges_": 2, "unnamed": 3}),
        (">  <empty>\n\n>  <mu>\n1.69\n\n", {"empty": None, "mu": 1.69}),
        (">  <code>\n007\n\n>  <id>\n12_3\n\n", {"code": "007", "id": "12_3"}),
        ("not a field\n>  <mu>\n 1.69 \n\n", {"mu": 1.69}),
        (">  <mu>\r\n1.69\r\n\r\n", {"mu": 1.69}),
    ],
)
def test_fields_whole_and_in_batches(tmp_path, fields, found):
    report = read(tmp_path, water(fields) + water())
    assert report.molecules.num_atoms.tolist() == [3, 3]
    for name, value in found.items():
        column = report.molecules.properties[name]
        expected = np.nan if value is None else value
        np.testing.assert_array_equal(column, np.array([expected, "" if isinstance(value, str) else np.nan]))
    assert set(report.molecules.properties) == set(found)
    assert [part.names for part in read_batches([tmp_path / "a.sdf"], 1)] == [[name] for name in report.names]


def test_a_field_given_twice_is_told(tmp_path):
    report = read(tmp_path, water(">  <mu>\n1.5\n\n>  <mu>\n1.69\n\n"))
    assert properties(report) == {"mu": [1.69]}
    assert [(misfit.column, misfit.example) for misfit in report.misfits] == [("mu", "'1.5'")]


@pytest.mark.parametrize(
    ("title", "fields", "found"),
    [
        ("ZINC000000895034", "", {"name": "ZINC000000895034"}),
        ("  ethanol \t", "", {"name": "ethanol"}),
        ("007", "", {"name": "007"}),
        (">sp|P1", "", {"name": ">sp|P1"}),
        ("water", ">  <name>\nwater\n\n", {"name": "water"}),
        ("mol 1", ">  <name>\nwater\n\n", {"title": "mol 1", "name": "water"}),
        ("   ", "", {}),
    ],
)
def test_the_title_is_the_name(tmp_path, title, fields, found):
    assert properties(read(tmp_path, water(fields, title=title))) == {key: [value] for key, value in found.items()}


@pytest.mark.parametrize(
    ("extra", "fields", "charge"),
    [
        ("M  CHG  1   1   1\n", "", 1),
        ("M  CHG  2   1   1   2  -1\n", "", 0),
        ("", ">  <charge>\n-1\n\n", -1),
        ("", ">  <formal_charge>\n+2\n\n", 2),
        ("", ">  <PUBCHEM_TOTAL_CHARGE>\n0\n\n", 0),
        ("M  CHG  1   1  -1\n", ">  <total_charge>\n-1\n\n", -1),
        ("", "", None),
    ],
)
def test_the_total_charge(tmp_path, extra, fields, charge):
    report = read(tmp_path, water(fields, extra=extra))
    assert properties(report) == ({} if charge is None else {"formal_charge": [charge]})
    assert report.misfits == ()


@pytest.mark.parametrize("name", ["formal_charge", "charge", "Total charge"])
def test_charges_that_contradict_each_other_are_told(tmp_path, name):
    report = read(tmp_path, water(f">  <{name}>\n0\n\n", extra="M  CHG  1   1   1\n"))
    assert properties(report)["formal_charge"] == [1]
    assert [(misfit.column, misfit.reason, misfit.example) for misfit in report.misfits] == [
        (name, CONTRADICTION, "'0'")
    ]


def test_v3000_with_charges_and_fields(tmp_path):
    mol = Chem.AddHs(Chem.MolFromSmiles("C[NH3+]"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    report = read(tmp_path, Chem.MolToV3KMolBlock(mol) + ">  <mu>\n1\n\n$$$$\n" + water())
    assert report.molecules.num_atoms.tolist() == [8, 3]
    np.testing.assert_array_equal(report.molecules.properties["formal_charge"], [1, np.nan])


@pytest.mark.parametrize("symbol", ["D", "T", "d", "t", "h", "H"])
def test_every_hydrogen(tmp_path, symbol):
    text = molfile("o 0 0 0.1173", f"{symbol} 0 0.7572 -0.4692", f"{symbol} 0 -0.7572 -0.4692", "cl 3 0 0") + "$$$$\n"
    assert read(tmp_path, text).molecules.charges.tolist() == [8, 1, 1, 17]
    labelled = water(extra="M  ISO  2   2   2   3   3\n")
    assert read(tmp_path, labelled).molecules.charges.tolist() == [8, 1, 1]


FLAT = {
    "H2": (("H 0 0 0", "H 0.74 0 0"), ("1 2 1",)),
    "F2": (("F 0 0 0", "F 1.41 0 0"), ("1 2 1",)),
    "N2": (("N 0 0 0", "N 1.1 0 0"), ("1 2 3",)),
    "HCN": (("H 0 0 0", "C 1.07 0 0", "N 2.22 0 0"), ("1 2 1", "2 3 3")),
    "water": (("O 0 0 0", "H 0.757 0.587 0", "H -0.757 0.587 0"), ("1 2 1", "1 3 1")),
    "carbon dioxide": (("O -1.16 0 0", "C 0 0 0", "O 1.16 0 0"), ("1 2 2", "2 3 2")),
    "ethene": (
        ("C 0 0.67 0", "C 0 -0.67 0", "H 0.92 1.24 0", "H -0.92 1.24 0", "H 0.92 -1.24 0", "H -0.92 -1.24 0"),
        ("1 2 2", "1 3 1", "1 4 1", "2 5 1", "2 6 1"),
    ),
    "water without bonds": (("O 0 0 0", "H 0.757 0.587 0", "H -0.757 0.587 0"), ()),
    "helium": (("He 0 0 0",), ()),
    "a lone carbon": (("C 0 0 0",), ()),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("program", ["", "  CDK     0101200000", "x"])
def test_flat_molecules_are_read(tmp_path, name, program):
    atoms, bonds = FLAT[name]
    assert len(read(tmp_path, molfile(*atoms, bonds=bonds, program=program) + "$$$$\n").molecules) == 1


@pytest.mark.parametrize(
    "smiles", ["CCO", "c1ccccc1", "C", "C=O", "O=C=O", "CC(=O)[O-]", "C1CC1", "N#N", "ClC(Cl)Cl", "CS"]
)
@pytest.mark.parametrize("hydrogens", [True, False])
def test_drawings_are_refused(tmp_path, smiles, hydrogens):
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    AllChem.Compute2DCoords(mol)
    lines = Chem.MolToMolBlock(mol).split("\n")
    drawing = "\n".join([lines[0], "", *lines[2:]])
    found = read(tmp_path, water() + drawing + "$$$$\n")
    if mol.GetNumAtoms() > 1:
        assert [skipped.reason for skipped in found.skipped] == ["it has no 3D coordinates."]


def test_a_program_line_that_says_2d_is_believed(tmp_path):
    atoms, bonds = FLAT["ethene"]
    flat = molfile(*atoms, bonds=bonds, program="     RDKit          2D") + "$$$$\n"
    assert len(read(tmp_path, water() + flat).skipped) == 1


def test_records_without_end_or_content(tmp_path):
    text = "$$$$\n" + water() + "\n$$$$\n" + water().replace("$$$$\n", "")
    report = read(tmp_path, text)
    assert report.names == ["a.sdf, molecule 2 (line 2)", "a.sdf, molecule 4 (line 15)"]
    assert [skipped.reason for skipped in report.skipped] == ["it is empty."] * 2
