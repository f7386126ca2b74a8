"""Atoms too close to each other are found in molecules of any size, and no real bond is taken for such."""

import numpy as np
import pytest

from ead_core.chemistry.overlap import find_overlap


@pytest.mark.parametrize(
    ("charges", "distance"),
    [
        ([1, 1], 0.741),
        ([7, 7], 1.098),
        ([6, 8], 1.128),
        ([1, 9], 0.917),
        ([6, 6], 1.203),
        ([3, 1], 1.595),
        ([1, 8], 0.96),
    ],
)
def test_the_shortest_real_bonds_are_none(charges, distance):
    assert find_overlap(np.array(charges), np.array([[0, 0, 0], [0, 0, distance]])) is None


@pytest.mark.parametrize(
    ("charges", "distance", "told"),
    [
        ([6, 6], 0.0, "C1 and C2 are 0.00 Å apart"),
        ([1, 1], 0.3, "H1 and H2 are 0.30 Å apart"),
        ([6, 1], 0.6, "C1 and H2 are 0.60 Å apart"),
        ([92, 17], 1.0, "U1 and Cl2 are 1.00 Å apart"),
    ],
)
def test_atoms_and_distance_are_named(charges, distance, told):
    positions = np.array([[5.0, 5, 5], [5, 5, 5 + distance]], dtype=np.float32)
    assert str(find_overlap(np.array(charges), positions)) == told


def test_the_nearest_two_of_many_atoms_are_named():
    positions = 4.0 * np.stack(np.meshgrid(*[np.arange(13)] * 3), axis=-1).reshape(-1, 3)
    assert len(positions) > 2000  # more than are held at a time
    charges = np.full(len(positions), 6)
    assert find_overlap(charges, positions) is None
    positions[1500] = positions[40] + [0.5, 0, 0]
    positions[2100] = positions[1900] + [0.2, 0, 0]
    assert str(find_overlap(charges, positions)) == "C1901 and C2101 are 0.20 Å apart"


def test_one_atom_and_unknown_places_overlap_with_nothing():
    assert find_overlap(np.array([6]), np.zeros((1, 3))) is None
    assert find_overlap(np.array([6, 6]), np.full((2, 3), np.nan)) is None
