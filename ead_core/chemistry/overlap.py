"""Atoms too close to each other to belong to any molecule."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.elements import HEAVIEST, element_symbol

CLOSEST = 0.6  # of the sum of two covalent radii; the shortest real bonds, N≡N and C≡O, have 0.77 of it
_RADII = np.array([Chem.GetPeriodicTable().GetRcovalent(number) for number in range(HEAVIEST + 1)])  # Å
_ROWS = 1024  # of the distances that are held at a time


class Overlap(NamedTuple):
    """Two atoms that are too close, as people name them (C1 is the first atom), and their distance in Å."""

    atoms: str
    distance: float

    def __str__(self) -> str:
        return f"{self.atoms} are {self.distance:.2f} Å apart"


def find_overlap(charges: NDArray[Any], positions: NDArray[Any]) -> Overlap | None:
    """The two nearest atoms among those that are nearer than any bond is long; None if there are none.

    Args:
        charges: atomic numbers [N].
        positions: [N, 3] in Å.
    """
    reach, places = CLOSEST * _RADII[charges], np.asarray(positions, dtype=np.float64)
    nearest = (np.inf, 0, 0)
    for start in range(0, len(reach), _ROWS):
        rows = slice(start, start + _ROWS)
        squared = _squared_distances(places[rows], places[start:])
        squared[squared >= (reach[rows, None] + reach[None, start:]) ** 2] = np.inf
        squared[np.tri(*squared.shape, dtype=np.bool_)] = np.inf  # each pair once, no atom with itself
        first, second = divmod(int(squared.argmin()), squared.shape[1])
        nearest = min(nearest, (float(squared[first, second]), start + first, start + second))
    if nearest[0] == np.inf:
        return None
    atoms = " and ".join(f"{element_symbol(charges[atom])}{atom + 1}" for atom in nearest[1:])
    return Overlap(atoms, nearest[0] ** 0.5)


def _squared_distances(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, m] in Å², an axis at a time, which needs a third of the memory."""
    squared = np.zeros((len(some), len(others)))
    for axis in range(3):
        squared += (some[:, None, axis] - others[None, :, axis]) ** 2
    return squared
