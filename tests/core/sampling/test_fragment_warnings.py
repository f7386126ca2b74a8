"""A fragment that is charged, or to which nothing can be bonded, is told; one with an open valence is not."""

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import DataError
from ead_core.sampling.fragment_file import read_fragment
from ead_core.sampling.fragment_warnings import fragment_warnings
from ead_core.sampling.fragments import Fragment


def fragment(embed, smiles, *without, charge=0):
    """The molecule of a SMILES without some of its atoms, counted from 0 (hydrogens follow the heavy ones)."""
    charges, positions = embed(smiles)
    return Fragment(np.delete(charges, without), np.delete(positions, without, axis=0).astype(float), charge)


@pytest.mark.parametrize(
    ("smiles", "without"),
    [
        ("C", [4]),  # methyl
        ("CCO", [8]),  # ethoxy
        ("CCO", [3, 6]),  # open at both carbons
        ("CO", [2, 5]),  # open at carbon and oxygen, as formaldehyde would be, were it shorter
        ("c1ccccc1", [6]),
        ("c1ccccc1", [6, 9]),
        ("c1ccccc1", [6, 7, 8, 9, 10, 11]),  # the ring alone
        ("C[N+](=O)[O-]", [4]),  # nitro groups are neutral
        ("C[N+](C)(C)[O-]", [5]),
        ("CC(N)=O", [3]),
        ("O", [1, 2]),
    ],
)
def test_open_valences_are_what_a_fragment_has(embedded, smiles, without):
    assert fragment_warnings(fragment(embedded, smiles, *without)) == []


@pytest.mark.parametrize(
    ("smiles", "formula"),
    [("CCO", "C2H6O"), ("C", "CH4"), ("c1ccncc1", "C5H5N"), ("O", "H2O"), ("C=C", "C2H4"), ("C[N+](=O)[O-]", "CH3NO2")],
)
def test_a_complete_molecule_is_told(embedded, smiles, formula):
    (warning,) = fragment_warnings(fragment(embedded, smiles))
    assert f"holds a complete molecule, {formula}, to which nothing can be bonded" in warning


def test_a_complete_piece_is_told(embedded):
    """Water far away from a methyl group."""
    methyl, water = fragment(embedded, "C", 4), fragment(embedded, "O")
    both = Fragment(
        np.concatenate([methyl.charges, water.charges]), np.concatenate([methyl.positions, water.positions + 6.0])
    )
    (warning,) = fragment_warnings(both)
    assert "H2O" in warning


def test_charges_are_told(embedded):
    open_ion = fragment(embedded, "C[NH3+]", 2, charge=1)
    assert fragment_warnings(open_ion) == ["the fragment has the charge +1, of which the model knows nothing."]
    not_stated = fragment(embedded, "C[NH3+]", 2)
    assert fragment_warnings(not_stated)[0].startswith("a nitrogen of the fragment has four neighbours")
    whole = fragment_warnings(fragment(embedded, "CC(=O)[O-]", charge=-1))
    assert [warning.split(",")[0] for warning in whole] == [
        "the fragment has the charge -1",
        "the fragment holds a complete molecule",
    ]


def test_the_charge_is_that_of_the_file(embedded, tmp_path):
    charges, positions = embedded("C[NH3+]")
    save_npz(MoleculeSet.from_lists([charges], [positions], {"formal_charge": np.array([1])}), tmp_path / "ion.npz")
    assert read_fragment(tmp_path / "ion.npz").net_charge == 1


def test_atoms_on_one_spot_are_refused_with_their_distance():
    with pytest.raises(
        DataError, match=r"^two atoms of the fragment are too close to each other: C1 and C2 are 0\.00 Å"
    ):
        Fragment(np.array([6, 6, 8, 1]), np.zeros((4, 3))).check()
