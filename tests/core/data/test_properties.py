"""Properties are in the literature's units wherever people meet them, and atoms are counted."""

import numpy as np
import pytest

from ead_core.data.properties import (
    count_atoms,
    counted_element,
    from_border,
    implausible,
    parse_formula,
    property_values,
    shown,
    to_border,
    unit_of,
)
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError

WATER_AND_METHANE = MoleculeSet(
    [3, 5],
    [8, 1, 1, 6, 1, 1, 1, 1],
    np.zeros((8, 3)),
    {
        "gap": np.array([0.25, np.inf], dtype=np.float32),
        "mu": np.array([1.85, 0.0]),
        "class": np.array([1, 2]),
        "smiles": np.array(["O", "C"]),
        "matrix": np.zeros((2, 2)),
    },
)


def test_orbital_energies_are_in_milli_electron_volt_and_the_others_as_in_the_data():
    assert to_border("gap", np.array([0.25])) == pytest.approx(6802.8465)
    for name in ("gap", "homo", "lumo"):
        assert unit_of(name).symbol == "meV"
    assert [unit_of(name).symbol for name in ("alpha", "mu", "Cv", "atoms_C", "mine")] == [
        *("bohr³", "D", "cal/mol/K", "atoms", "")
    ]
    for name in ("gap", "alpha", "mine", "atoms_C"):
        assert from_border(name, to_border(name, np.array([0.3]))) == pytest.approx(0.3)
    assert to_border("mine", np.array([0.3])) == 0.3


def test_values_are_border_units_with_nan_where_they_are_no_number():
    gap = property_values(WATER_AND_METHANE, "gap")
    assert gap[0] == pytest.approx(6802.85, abs=0.01)
    assert np.isnan(gap[1])
    assert property_values(WATER_AND_METHANE, "class").tolist() == [1, 2]


def test_atoms_are_counted():
    assert [counted_element(name) for name in ("atoms_H", "atoms_Cl", "atoms_Xx", "gap")] == [1, 17, None, None]
    assert property_values(WATER_AND_METHANE, "atoms_H").tolist() == [2, 4]
    assert count_atoms(WATER_AND_METHANE, 9).tolist() == [0, 0]


@pytest.mark.parametrize("name", ["foo", "smiles", "matrix", "atoms_Xx"])
def test_a_property_that_is_no_number_per_molecule_is_refused_with_those_that_are(name):
    with pytest.raises(DataError, match=rf"no numeric property '{name}'; they have class, gap, mu, and atoms_X"):
        property_values(WATER_AND_METHANE, name)


def test_formulas():
    assert parse_formula("C7H10O2") == {6: 7, 1: 10, 8: 2}
    assert parse_formula("CH3CH2Cl") == {6: 2, 1: 5, 17: 1}
    for text in ("", "7C", "C7h10", "C-2", "Zz3", "C 2"):
        with pytest.raises(DataError, match=f"'{text}' is no formula such as C7H10O2"):
            parse_formula(text)
    with pytest.raises(DataError, match="'C1000H4' asks for more atoms of C than any molecule here has"):
        parse_formula("C1000H4")


def test_values_for_people_have_their_unit():
    assert shown("alpha", 28.860000610351562, 110.76000213623047) == "28.86 to 110.76 bohr³"
    assert shown("mine", 3.0) == "3"


ETHANOL = {
    "gap": 0.333,
    "homo": -0.262,
    "lumo": 0.071,
    "zpve": 0.08,
    "alpha": 31.3,
    "Cv": 14.6,
    "U0": -154.97,
    "mu": 1.5,
}


def ethanol(**values: float) -> MoleculeSet:
    """Two molecules, of which the other has nothing known."""
    columns = {name: np.array([value, np.nan]) for name, value in values.items()}
    return MoleculeSet([9, 3], [6, 6, 8, *[1] * 6, 8, 1, 1], np.zeros((12, 3)), columns)


def test_values_in_their_unit_are_no_matter():
    assert implausible(ethanol(**ETHANOL)) == []
    assert implausible(ethanol(mine=1e9, strange=-3.0)) == []
    assert implausible(MoleculeSet([1], [1], np.zeros((1, 3)), {"gap": np.array(["6.8 eV"])})) == []


@pytest.mark.parametrize(
    ("name", "factor", "unit"),
    [
        ("gap", 27.2114, "eV"),
        ("gap", 27211.4, "meV"),
        ("gap", 627.5, "kcal/mol"),
        ("homo", 27.2114, "eV"),
        ("lumo", 27.2114, "eV"),
        ("zpve", 627.5, "kcal/mol"),
        ("U0", 27.2114, "eV"),
        ("U0", 2625.5, "kcal/mol or kJ/mol"),
        ("alpha", 0.1482, "Å³"),
        ("Cv", 4.184, "J/mol/K"),
        ("gap", -1.0, ""),
        ("mu", -1.0, ""),
        ("U0", 0.005, ""),
    ],
)
def test_values_in_another_unit_are_told(name, factor, unit):
    (sentence,) = implausible(ethanol(**{name: ETHANOL[name] * factor}))
    assert sentence.startswith(f"{name}: 1 of 1 values ({ETHANOL[name] * factor:.4g}) are far from")
    assert any(f"are they in {other}?" in sentence for other in unit.split(" or ")) if unit else "?" not in sentence
    assert implausible(ethanol(**{name: ETHANOL[name] * factor}), ["other"]) == []
