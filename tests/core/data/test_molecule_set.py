"""A set of molecules is indexed, sliced, iterated, joined and shown."""

import numpy as np
import pytest

from ead_core.chemistry.molecule import Molecule
from ead_core.data.store import MoleculeSet


@pytest.fixture
def molecules():
    """Hydrogen fluoride, water and neon."""
    numbers = [np.array([9, 1]), np.array([8, 1, 1]), np.array([10])]
    positions = [np.array([[0, 0, 0], [0, 0, 0.92]]), np.array([[0, 0, 0.1], [0, 0.76, -0.5], [0, -0.76, -0.5]])]
    columns = {
        "id": np.array([3, 5, 7]),
        "gap": np.array([0.5, np.nan, 0.25]),
        "name": np.array(["a <b>", "", "neon"]),
        "dipole": np.arange(9.0).reshape(3, 3),
        "formal_charge": np.array([0, np.nan, 0]),
        "good": np.array([True, False, True]),
    }
    return MoleculeSet.from_lists(numbers, [*positions, np.zeros((1, 3))], columns)


def test_an_index_gives_a_molecule(molecules):
    water = molecules[1]
    assert isinstance(water, Molecule)
    assert (len(water), water.formula, water.charges.tolist()) == (3, "H2O", [8, 1, 1])
    assert water.positions.shape == (3, 3)
    assert water.properties["id"] == 5
    assert water.properties["dipole"].tolist() == [3, 4, 5]
    assert water.known == {"id": 5, "good": 0}
    assert repr(molecules[-1]) == repr(molecules[np.int64(2)]) == "Molecule(Ne, 1 atoms)"
    assert water.total_charge == 0
    assert str(molecules[0].known["formal_charge"]) == "0"  # a float in its column, where another is unknown


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_beyond_the_end_is_an_index_error(molecules, index):
    with pytest.raises(IndexError):
        molecules[index]


@pytest.mark.parametrize("chosen", [slice(0, 3, 2), [0, 2], np.array([0, 2]), np.array([True, False, True]), [0, -1]])
def test_slices_lists_and_masks_give_sets(molecules, chosen):
    some = molecules[chosen]
    assert isinstance(some, MoleculeSet)
    assert some.properties["id"].tolist() == [3, 7]
    assert some.charges.tolist() == [9, 1, 10]


def test_a_loop_yields_every_molecule(molecules):
    assert [molecule.formula for molecule in molecules] == ["FH", "H2O", "Ne"]
    assert [molecule.formula for molecule in molecules[:0]] == []


def test_sets_with_other_properties_are_joined(molecules):
    bare = MoleculeSet(molecules.num_atoms, molecules.charges, molecules.positions, {"mu": np.array([1, 2, 3])})
    both = MoleculeSet.concatenate([bare, molecules])
    assert both.properties["name"].tolist() == ["", "", "", "a <b>", "", "neon"]
    np.testing.assert_array_equal(both.properties["mu"], [1, 2, 3, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(both.properties["id"], [np.nan, np.nan, np.nan, 3, 5, 7])
    assert both.properties["dipole"].shape == (6, 3)


def test_it_is_shown_in_one_line_and_as_a_table(molecules):
    assert repr(molecules).startswith("MoleculeSet(3 molecules, 6 atoms, properties: id, gap, name, dipole,")
    page = molecules._repr_html_()
    assert page.count("<tr>") == 4
    assert page.count("<svg") == 3
    assert "a &lt;b&gt;" in page
    assert ">H2O<" in page


def test_a_table_shows_the_first_of_many_and_what_has_no_bonds():
    many = MoleculeSet.concatenate([MoleculeSet.from_lists([np.array([6, 1])], [np.full((2, 3), np.nan)])] * 30)
    page = many._repr_html_()
    assert page.startswith("<p>30 molecules, the first 8:")
    assert page.count("not a finite number") == 8
    assert "0 molecules" in MoleculeSet.from_lists([], [])._repr_html_()
