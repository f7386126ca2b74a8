"""The atoms that are named are those that a chemist would point at."""

import numpy as np
import pytest

from ead_core.chemistry.bonds import find_bonds, stable_valences
from ead_core.chemistry.defects import defective_atoms, within_bonds


def without(charges, positions, *atoms):
    return np.delete(charges, atoms), np.delete(positions, atoms, axis=0)


def joined(*molecules):
    """Molecules 14 Å apart."""
    charges = np.concatenate([numbers for numbers, _ in molecules])
    return charges, np.concatenate([places + 8.0 * index for index, (_, places) in enumerate(molecules)])


@pytest.mark.parametrize("smiles", ["C", "CCO", "CC(=O)N", "C#N"])
def test_nothing_is_named_in_a_good_molecule(embedded, smiles):
    assert not defective_atoms(*embedded(smiles)).any()


def test_a_carbon_without_one_of_its_hydrogens_is_named(embedded):
    charges, positions = embedded("CCO")
    hydrogen = next(
        index
        for index in np.flatnonzero(charges == 1)
        if np.linalg.norm(positions - positions[index], axis=1)[[0]].max() < 1.2
    )
    assert np.flatnonzero(defective_atoms(*without(charges, positions, hydrogen))).tolist() == [0]


def test_a_hydrogen_that_is_an_oxygen_is_named_with_its_carbon(embedded):
    """A lone oxygen on a C–H bond's length makes a multiple bond: both ends have a wrong valence."""
    charges, positions = embedded("C")
    assert np.flatnonzero(defective_atoms(np.array([6, 8, 1, 1, 1]), positions)).tolist() == [0, 1]
    assert charges.tolist() == [6, 1, 1, 1, 1]


@pytest.mark.parametrize("order", [("CCO", "O"), ("O", "CCO")])
def test_of_two_pieces_the_smaller_one_is_named(embedded, order):
    charges, positions = joined(*map(embedded, order))
    sizes = [len(embedded(smiles)[0]) for smiles in order]
    small = np.repeat([size == min(sizes) for size in sizes], sizes)
    assert np.array_equal(defective_atoms(charges, positions), small)


def test_a_piece_that_is_a_radical_is_named_though_nothing_can_be_perceived(embedded):
    methyl = without(*embedded("C"), 4)
    charges, positions = joined(embedded("CCO"), methyl)
    assert np.flatnonzero(defective_atoms(charges, positions)).tolist() == [9, 10, 11, 12]


@pytest.mark.parametrize("smiles", ["C[N+](=O)[O-]", "c1ccccc1"])
def test_what_is_strictly_valid_is_at_fault_by_the_published_table_at_most(embedded, smiles):
    """It grants neither charges nor bonds between a single and a double one."""
    charges, positions = embedded(smiles)
    wrong = ~stable_valences(charges[None], find_bonds(charges[None], positions[None]))[0]
    assert wrong.any()
    assert np.array_equal(defective_atoms(charges, positions), wrong)


def test_a_ring_that_the_published_table_refuses_is_not_freed_where_the_fault_is_elsewhere(embedded):
    charges, positions = joined(embedded("c1ccccc1"), embedded("O"))
    assert np.flatnonzero(defective_atoms(charges, positions)).tolist() == [12, 13, 14]


def test_in_an_ion_the_charge_that_is_stated_counts(embedded):
    """Ammonium is at fault for the published table alone; without its charge nothing is perceived."""
    charges, positions = joined(embedded("[NH4+]"), embedded("O"))
    assert np.flatnonzero(defective_atoms(charges, positions, 1)).tolist() == [5, 6, 7]
    assert np.flatnonzero(defective_atoms(charges, positions)).tolist() == [0, 5, 6, 7]


def test_neighbours_are_counted_in_bonds(embedded):
    charges, positions = embedded("CCO")
    start = np.zeros(9, dtype=bool)
    start[2] = True  # the oxygen
    found = [set(np.flatnonzero(within_bonds(start, charges, positions, hops)).tolist()) for hops in (0, 1, 2, 9)]
    assert found[0] == {2}
    assert {0} & found[1] == set()
    assert {1, 2} < found[1]
    assert {0, 1, 2} < found[2]
    assert found[3] == set(range(9))


def test_no_bond_leads_to_another_piece(embedded):
    charges, positions = joined(embedded("CCO"), embedded("O"))
    assert within_bonds(np.arange(12) == 9, charges, positions, 100).tolist() == [False] * 9 + [True] * 3
