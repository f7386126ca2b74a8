"""Lists of SMILES: what is taken, under which number, and why the others are not."""

import gzip

import pytest

from ead_core.data.own_molecules import read_own
from ead_core.data.smiles_files import is_smiles_file, read_smiles
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import DataError


@pytest.fixture
def listed(tmp_path):
    """The numbers and SMILES of a list, and the reasons for what is left out."""

    def listed(name, text):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        assert is_smiles_file(path)
        candidates, skipped = read_smiles(path)
        return {one.number: one.smiles for one in candidates}, dict(skipped)

    return listed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.smi", "CCO ethanol\n\nC1=CC=CC=C1\tbenzene\n"),
        ("a.smi", "SMILES name\nOCC ethanol\nc1ccccc1\n"),
        ("a.smi.gz", "OCC\nc1ccccc1\n"),
        ("a.csv", 'id,SMILES,note\n1,OCC,"two, words"\n2, c1ccccc1,\n3,,\n'),
        ("a.csv", "OCC\nc1ccccc1\n"),
        ("a.tsv", "id\tsmiles\n1\tOCC\n2\tc1ccccc1\n"),
    ],
)
def test_every_form_gives_the_same_molecules(listed, name, text):
    found, skipped = listed(name, text)
    assert list(found.values()) == ["CCO", "c1ccccc1"]
    assert skipped == {}
    assert all(text.splitlines()[number - 1].strip() for number in found)  # numbers are those of lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "is no SMILES that RDKit reads"),
        ("CC[NH3+]", "has a charge"),
        ("[Na+].[Cl-]", "consists of several pieces"),
        ("C[CH2]", "has an unpaired electron"),
        ("OCC", "repeats the molecule of line 1"),
        ("[2H]OCC", "repeats the molecule of line 1"),
    ],
)
def test_what_is_left_out_is_named(listed, text, reason):
    found, skipped = listed("a.smi", f"CCO\n{text}\nC[N+](=O)[O-]\n")
    assert list(found.values()) == ["CCO", "C[N+](=O)[O-]"]  # charges that balance are none
    assert skipped == {
        "line 2": f"'{text}' {reason}.".replace("a charge.", "a charge, and these models make neutral molecules.")
    }


def test_a_table_without_the_column_is_refused_with_those_it_has(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,structure\nethanol,CCO\n")
    with pytest.raises(DataError, match=r"needs a column 'smiles' and has 'name', 'structure'\.$"):
        read_smiles(path)


def test_own_molecules_are_built_in_3d_and_what_cannot_be_is_left_out(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("CCS\nC1#CC1\nCC[NH3+]\n")
    report = read_own(path)
    assert report.molecules[0].formula == "C2H6S"
    assert report.molecules.properties["smiles"].tolist() == ["CCS"]
    assert [skipped.name for skipped in report.skipped] == ["line 3", "line 2"]


def test_structures_with_a_charge_are_left_out_and_nothing_left_is_an_error(tmp_path):
    water = MoleculeSet.from_lists([[8, 1, 1]] * 2, [[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]] * 2)
    path = tmp_path / "a.npz"
    save_npz(MoleculeSet(water.num_atoms, water.charges, water.positions, {"formal_charge": [0, 1]}), path)
    report = read_own(path)
    assert len(report.molecules) == 1
    assert "has a charge" in report.skipped[0].reason
    path = tmp_path / "a.smi"
    path.write_text("nonsense\n")
    with pytest.raises(DataError, match=r"holds no molecule to learn from; of 1, line 1: 'nonsense' is no SMILES"):
        read_own(path)
