"""An SDF holds the perceived molecule: RDKit reads back its SMILES, its title and its fields."""

import functools
from collections import Counter

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ead_core.chemistry.identity import smiles_of
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.sdf_writer import sdf_records
from ead_core.data.store import MoleculeSet

SMILES = [
    *("C", "O", "[H][H]", "C#N", "CC(=O)O", "c1ccncc1", "c1ccc2[nH]ccc2c1", "O=C1C=CC(=O)C=C1", "C12C3C4C1C5C2C3C45"),
    *("[NH3+]CC(=O)[O-]", "C[N+](C)(C)[O-]", "CN=[N+]=[N-]", "C=[N+]=[N-]", "[C-]#[N+]C", "C[N+](=O)[O-]"),
    *("[O-][n+]1ccccc1", "O=[N+]([O-])c1ccccc1", "C=[N+](C)[O-]", "OB(O)c1ccccc1", "CB(O)O", "[C-]#[O+]"),
    *("CS(N)(=O)=O", "CS(C)(=O)=O", "CS(C)=O", "COP(=O)(OC)OC", "CP(C)(C)=O", "C=P(C)(C)C", "O=P1(O)OCCO1"),
    *("C[NH3+]", "[NH4+]", "C[N+](C)(C)C", "C[P+](C)(C)CC[N+](=O)[O-]", "C[P+](c1ccccc1)(c1ccccc1)c1ccccc1"),
    *("C[S+](C)C", "CC(=O)[O-]", "CS(=O)(=O)[O-]", "COP(=O)([O-])[O-]", "[OH3+]", "[OH-]", "NC(N)=[NH2+]"),
    *("c1cc[nH+]cc1", "C[C+](C)C", "[CH3-]", "F[B-](F)(F)F", "[Na+]", "[Cl-]", "[H+]", "C[Si](C)(C)C", "CI", "C[SeH]"),
    *("C/C=C/C", r"C/C=C\C", "F/C=C/Cl", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "CC[S@](C)=O", "C[C@H]1C[C@@H]1O"),
]


@functools.cache
def embedded(smiles):
    """Atomic numbers, positions and charge of a SMILES."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=7) == 0
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, mol.GetConformer().GetPositions().astype(np.float32), Chem.GetFormalCharge(mol)


def made(*smiles, **properties):
    """A set that knows the charges of its molecules."""
    numbers, positions, charges = zip(*map(embedded, smiles), strict=True)
    columns = {name: np.array(values) for name, values in properties.items()}
    return MoleculeSet.from_lists(numbers, positions, {"formal_charge": np.array(charges), **columns})


def written(molecules, folder):
    """What RDKit reads of the molecules, hydrogens being implied."""
    write_molecules(molecules, folder / "some.sdf")
    return list(Chem.SDMolSupplier(str(folder / "some.sdf")))


def hydrogens_implied(mol):
    return {**Counter(atom.GetAtomicNum() for atom in Chem.AddHs(mol).GetAtoms())}


def test_rdkit_reads_back_the_molecule(tmp_path):
    mols = written(made(*SMILES), tmp_path)
    assert [Chem.MolToSmiles(mol) for mol in mols] == [Chem.CanonSmiles(smiles) for smiles in SMILES]
    assert [mol.GetProp("smiles") for mol in mols] == [Chem.CanonSmiles(smiles) for smiles in SMILES]
    assert not any(mol.HasProp("warning") for mol in mols)


def test_real_molecules_are_read_back_with_their_smiles(qm9, tmp_path):
    chosen = qm9.select(np.random.default_rng(4).choice(len(qm9), 50, replace=False))
    mols = written(chosen, tmp_path)
    pairs = [(mol, molecule) for mol, molecule in zip(mols, chosen, strict=True) if mol and mol.HasProp("smiles")]
    told = [mol.GetProp("smiles") for mol, _ in pairs]
    assert len(told) >= 49
    assert told == [smiles_of(mol) for mol, _ in pairs]
    assert told == [Chem.CanonSmiles(smiles) for smiles in told]
    assert "[H]" not in "".join(told)
    for smiles, (_, molecule) in zip(told, pairs, strict=True):
        assert hydrogens_implied(Chem.MolFromSmiles(smiles)) == Counter(molecule.charges.tolist())


def test_no_double_bond_is_marked_as_either(tmp_path):
    write_molecules(made("C/C=C/C", "F/C=C/Cl", "C=CC"), tmp_path / "some.sdf")
    for mol in Chem.SDMolSupplier(str(tmp_path / "some.sdf"), sanitize=False, removeHs=False):
        assert all(bond.GetBondDir() != Chem.BondDir.EITHERDOUBLE for bond in mol.GetBonds())
        assert "  3\n" not in Chem.MolToMolBlock(mol, kekulize=False).partition("M  END")[0].splitlines()[4:]


class TestWhatIsWrongIsSaid:
    def test_of_bonds_that_cannot_be_perceived(self, tmp_path):
        radical = made("CC").select([0])
        radical = MoleculeSet.from_lists([radical.charges[:-1]], [radical.positions[:-1]])
        (mol,) = written(radical, tmp_path)
        assert Chem.MolToSmiles(mol) == "[CH2]C"
        assert "distance table" in mol.GetProp("warning")
        assert mol.GetProp("warning").endswith("unpaired electrons: 1")
        assert not mol.HasProp("smiles")

    def test_and_counted_with_what_rdkit_cannot_read(self, tmp_path):
        good, bad = made("CC"), made("C[N+](C)(C)C")
        unknown = MoleculeSet(bad.num_atoms, bad.charges, bad.positions, {"formal_charge": np.array([0])})
        both = MoleculeSet.concatenate([good, unknown])
        (note,) = write_molecules(both, tmp_path / "some.sdf")
        assert note.startswith("of 2 molecules 1 have bonds of a distance table")
        assert "RDKit cannot read 1 of these" in note
        assert "RDKit cannot sanitise" in (tmp_path / "some.sdf").read_text()

    def test_of_pieces(self, tmp_path):
        numbers, positions, _ = embedded("O")
        two = MoleculeSet.from_lists([np.tile(numbers, 2)], [np.concatenate([positions, positions + 9])])
        (mol,) = written(two, tmp_path)
        assert (mol.GetProp("smiles"), mol.GetProp("warning")) == ("O.O", "in 2 pieces")

    def test_of_coordinates_that_are_no_numbers(self, tmp_path):
        lost = MoleculeSet.from_lists([np.array([6, 1])], [np.array([[0, 0, 0], [np.nan, 0, 0]])])
        assert "perception failed" in write_molecules(lost, tmp_path / "some.sdf")[0]
        assert "not a finite number" in (tmp_path / "some.sdf").read_text()

    def test_once(self, tmp_path):
        molecules = made("O", "CC", warning=["unpaired electrons: 1", "atoms_C=5 is outside"])
        first = [record.text for record in sdf_records(molecules)]
        write_molecules(molecules, tmp_path / "some.sdf")
        again = [record.text for record in sdf_records(read_molecules(tmp_path / "some.sdf").molecules)]
        warnings = [text.split("<warning>\n")[1].split("\n")[0] for text in first + again]
        assert warnings == ["unpaired electrons: 1", "atoms_C=5 is outside"] * 2

    def test_of_a_smiles_with_other_atoms(self, tmp_path):
        first, second = written(made("CCO", "CC", smiles=["OCC", "C"]), tmp_path)
        assert (first.GetProp("smiles"), first.HasProp("warning")) == ("OCC", 0)  # the file's own is kept
        assert second.GetProp("smiles") == "CC"
        assert second.GetProp("warning") == "its SMILES was C, which has other atoms"


class TestFields:
    def test_every_known_property_is_written_and_the_name_is_the_title(self, tmp_path):
        properties = {"id": [7, 8], "gap": [0.25, np.nan], "name": ["water one", ""], "code": ["x-1", ""]}
        first, second = written(made("O", "N", **properties), tmp_path)
        assert first.GetProp("_Name") == "water one"
        assert first.GetPropsAsDict() == {"formal_charge": 0, "id": 7, "gap": 0.25, "code": "x-1", "smiles": "O"}
        assert second.GetProp("_Name") == ""
        assert second.GetPropsAsDict() == {"formal_charge": 0, "id": 8, "smiles": "N"}

    @pytest.mark.parametrize(
        ("name", "title"),
        [
            ("a\nb", "a b"),
            ("$$$$", "$$$$"),
            (" spaced  out ", "spaced out"),
            (">x<", ">x<"),
            ("é\r\n2", "é 2"),
            ("M  END", "M END"),
            ("  2  1", "2 1"),
            ("\x00nul", "nul"),
        ],
    )
    def test_no_name_breaks_a_record(self, tmp_path, name, title):
        mols = written(made("O", "N", name=[name, "b"], gap=[1.5, 3.0]), tmp_path)
        assert [mol.GetProp("_Name").strip() for mol in mols] == [title, "b"]
        assert [mol.GetDoubleProp("gap") for mol in mols] == [1.5, 3.0]

    @pytest.mark.parametrize("text", ["a\n\nb", "a\n$$$$\nb", "> <gap>\n9", "$$$$", "\r\n", "1\n2", "M  END", "\x0c"])
    def test_no_text_breaks_a_record(self, tmp_path, text):
        path = tmp_path / "some.sdf"
        notes = write_molecules(made("O", "N", note=[text, "b"], gap=[1.5, 3.0]), path)
        mols = list(Chem.SDMolSupplier(str(path)))
        assert [mol.GetDoubleProp("gap") for mol in mols] == [1.5, 3.0]
        assert mols[1].GetProp("note") == "b"
        kept = mols[0].HasProp("note") and mols[0].GetProp("note").strip() == text
        assert kept or "1 texts of 'note' are not as they were" in notes[0]
        assert read_molecules(path).molecules.properties["gap"].tolist() == [1.5, 3.0]

    @pytest.mark.parametrize("name", ["", "a\nb", "a<b>", "\n", "<", "a\r\n\r\nb", "$$$$", "> <x>", "unnamed"])
    def test_no_name_of_a_property_breaks_a_record(self, tmp_path, name):
        path = tmp_path / "some.sdf"
        molecules = made("O", "N", **{name: [2.0, 4.0], "unnamed_": [5.0, 5.0], "gap": [1.5, 3.0]})
        notes = write_molecules(molecules, path)
        mols = list(Chem.SDMolSupplier(str(path)))
        assert [mol.GetDoubleProp("gap") for mol in mols] == [1.5, 3.0]
        assert [len(mol.GetPropsAsDict()) for mol in mols] == [5, 5]
        assert (name in mols[0].GetPropNames()) or "is called" in notes[0]

    def test_several_values_per_molecule_are_told(self, tmp_path):
        notes = write_molecules(made("O", dipole=[[1.0, 2.0, 3.0]]), tmp_path / "some.sdf")
        assert notes == ["property 'dipole' is left out: it has several values per molecule."]


def test_large_molecules_and_far_atoms_are_written_as_v3000(tmp_path):
    numbers = np.full(1001, 10)
    positions = 10.0 * np.stack([np.arange(1001), np.zeros(1001), np.zeros(1001)], axis=1)
    far = np.array([[0, 0, 0], [123456.25, 0, 0]])
    molecules = MoleculeSet.from_lists([numbers, np.array([10, 10])], [positions, far])
    write_molecules(molecules, tmp_path / "some.sdf")
    assert (tmp_path / "some.sdf").read_text().count("V3000") == 2
    back = read_molecules(tmp_path / "some.sdf").molecules
    assert back.num_atoms.tolist() == [1001, 2]
    np.testing.assert_allclose(back.positions, molecules.positions, atol=1e-4)
