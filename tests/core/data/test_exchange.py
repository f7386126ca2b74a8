"""Molecules go to RDKit with bonds, charges and properties, and come back."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ead_core import EADError, MoleculeSet, from_rdkit, to_rdkit

SMILES = ["CCO", "C[NH3+]", "CC(=O)[O-]", "C[C@H](N)C(=O)O", "F/C=C/Cl", "c1ccncc1", "[H][H]", "CN=[N+]=[N-]"]


def embedded(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def test_molecules_come_back_as_they_went():
    mols = [embedded(smiles) for smiles in SMILES]
    for number, mol in enumerate(mols):
        mol.SetProp("_Name", f"molecule {number}")
        mol.SetIntProp("id", number)
        mol.SetDoubleProp("gap", 0.5 * number)
    molecules = from_rdkit(mols)
    assert molecules.properties["name"].tolist() == [f"molecule {number}" for number in range(8)]
    assert molecules.properties["formal_charge"].tolist() == [0, 1, -1, 0, 0, 0, 0, 0]
    assert molecules.properties["gap"].tolist() == [0.5 * number for number in range(8)]
    for smiles, mol, molecule in zip(SMILES, mols, molecules, strict=True):
        back = to_rdkit(molecule)
        assert Chem.MolToSmiles(Chem.RemoveHs(back)) == Chem.CanonSmiles(smiles)
        np.testing.assert_allclose(back.GetConformer().GetPositions(), mol.GetConformer().GetPositions(), atol=1e-6)
        assert back.GetProp("_Name") == mol.GetProp("_Name")
        assert back.GetIntProp("id") == mol.GetIntProp("id")
    again = from_rdkit(map(to_rdkit, molecules))
    assert set(again.properties) == set(molecules.properties)
    np.testing.assert_array_equal(again.positions, molecules.positions)


def test_what_cannot_be_perceived_comes_with_a_warning():
    methyl = MoleculeSet.from_lists([np.array([6, 1])], [np.array([[0, 0, 0], [0, 0, 1.09]])])
    mol = to_rdkit(methyl[0])
    assert mol.GetNumBonds() == 1
    assert "distance table" in mol.GetProp("warning")


@pytest.mark.parametrize(
    ("mol", "sentence"),
    [
        (None, "molecule 1 has no atoms"),
        (Chem.Mol(), "molecule 1 has no atoms"),
        (Chem.MolFromSmiles("CCO"), "molecule 1 has no 3D coordinates"),
        (Chem.RemoveHs(embedded("CCO")), "molecule 1 has implicit hydrogens"),
    ],
)
def test_what_has_no_geometry_is_refused(mol, sentence):
    with pytest.raises(EADError, match=sentence):
        from_rdkit([mol])
