"""Total charges are what the files state, and electrons are counted with them."""

import numpy as np
import pytest

from ead_core.chemistry.electrons import can_be_closed_shell
from ead_core.data.electrons import even_electrons, net_charges
from ead_core.data.store import MoleculeSet

WATER, AMMONIUM, METHYL = [8, 1, 1], [7, 1, 1, 1, 1], [6, 1, 1, 1]


def made_of(*elements, **properties):
    columns = {name: np.array(values) for name, values in properties.items()}
    return MoleculeSet.from_lists([np.array(z) for z in elements], [np.zeros((len(z), 3)) for z in elements], columns)


def test_without_a_stated_charge_molecules_are_neutral():
    some = made_of(WATER, AMMONIUM, METHYL)
    assert net_charges(some).tolist() == [0, 0, 0]
    assert even_electrons(some).tolist() == [True, False, False]


def test_the_stated_charge_counts():
    some = made_of(WATER, AMMONIUM, METHYL, METHYL, formal_charge=[np.nan, 1, 1, -1])
    assert net_charges(some).tolist() == [0, 1, 1, -1]
    assert [molecule.total_charge for molecule in some] == [0, 1, 1, -1]
    assert even_electrons(some).tolist() == [True, True, True, True]


@pytest.mark.parametrize("stated", [["1", "x"], [0.5, np.inf], [1e12, np.nan], [[1, 0], [0, 1]], [True, False]])
def test_what_is_no_whole_number_is_no_charge(stated):
    some = made_of(WATER, WATER, formal_charge=stated)
    assert net_charges(some).tolist() == [0, 0]
    assert [molecule.total_charge for molecule in some] == [0, 0]


def test_no_molecules_have_no_charges():
    assert even_electrons(made_of(WATER).select([])).tolist() == []


def test_a_charge_must_leave_electrons_in_pairs_and_nuclei():
    assert can_be_closed_shell(np.array(AMMONIUM), 1)
    assert not can_be_closed_shell(np.array(AMMONIUM))
    assert can_be_closed_shell(np.array([1]), 1)  # a proton
    assert not can_be_closed_shell(np.array(WATER), 12)
