"""A SMILES denotes the whole molecule: with its hydrogens implied it has the molecule's own atoms."""

from collections import Counter

import numpy as np
import pytest
from rdkit import Chem

from ead_core.chemistry.identity import denotes, identify, perceived_smiles, smiles_of, without_stereo
from ead_core.chemistry.molecule import Molecule
from ead_core.evaluation.smiles import published_smiles


def moved(molecule, by):
    return Molecule(molecule.charges, molecule.positions + by)


def together(*molecules):
    """Several molecules as one, far apart."""
    apart = [moved(molecule, 12 * place) for place, molecule in enumerate(molecules)]
    return Molecule(np.concatenate([m.charges for m in apart]), np.concatenate([m.positions for m in apart]))


@pytest.mark.parametrize("smiles", ["CCO", "C[C@H](N)C(=O)O", "F/C=C/Cl", "c1ccncc1", "C[N+](=O)[O-]", "[H][H]"])
def test_a_smiles_is_canonical_with_stereochemistry_and_implied_hydrogens(embedded, smiles):
    molecule = Molecule(*embedded(smiles))
    found = identify(molecule)
    assert (found.smiles, found.warning, found.readable) == (Chem.CanonSmiles(smiles), "", True)
    assert denotes(found.smiles, molecule)


def test_the_hydrogen_of_an_imine_is_implied_too(embedded):
    assert identify(Molecule(*embedded("[H]/N=C/C"))).smiles == "CC=N"


def test_all_pieces_are_part_of_the_molecule(embedded, make_set):
    water, ethane = Molecule(*embedded("O")), Molecule(*embedded("CC"))
    both = together(ethane, water)
    found = identify(both)
    assert (found.smiles, found.warning) == ("CC.O", "in 2 pieces")
    assert denotes(found.smiles, both)
    assert not denotes("CC", both)  # what the published protocol takes for it


def test_a_lost_hydrogen_is_not_implied(embedded):
    numbers, positions = embedded("CCO")
    radical = Molecule(numbers[:-1], positions[:-1])
    assert perceived_smiles([radical]) == [""]
    assert published_smiles(radical.charges, radical.positions)  # has one for it


def test_the_charge_of_the_molecule_is_used_and_another_one_told(embedded):
    numbers, positions = embedded("C[NH3+]")
    assert identify(Molecule(numbers, positions, {"formal_charge": 1})).smiles == "C[NH3+]"
    assert identify(Molecule(numbers, positions, {"formal_charge": np.nan})).smiles == ""
    assert "distance table" in identify(Molecule(numbers, positions)).warning


def test_cages_have_canonical_smiles(embedded):
    mol = identify(Molecule(*embedded("N#C[C@H]1[C@]2(O)C[C@@]1(O)C2"))).mol
    assert smiles_of(mol) == Chem.CanonSmiles(smiles_of(mol))


@pytest.mark.parametrize(
    ("smiles", "flat"), [("C[C@H](N)C(=O)O", "CC(N)C(=O)O"), ("F/C=C/Cl", "FC=CCl"), ("CCO", "CCO"), ("C1CC1", "C1CC1")]
)
def test_stereochemistry_can_be_left_out(smiles, flat):
    assert without_stereo(smiles) == Chem.CanonSmiles(flat)


def test_any_heap_of_atoms_has_an_answer():
    generator = np.random.default_rng(3)
    for size in generator.integers(1, 12, 60).tolist():
        numbers = generator.choice([1, 6, 7, 8, 9, 15, 16, 17], size)
        heap = Molecule(numbers, generator.uniform(0, 2.5, (size, 3)).astype(np.float32))
        found = identify(heap)
        assert bool(found.smiles) == found.perceived
        assert found.perceived or found.warning
        if found.perceived:
            assert denotes(found.smiles, heap)
            assert Counter(atom.GetAtomicNum() for atom in found.mol.GetAtoms()) == Counter(numbers.tolist())
