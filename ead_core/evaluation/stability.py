"""Atom and molecule stability of the EDM protocol: has every atom exactly the valence of its element?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.bonds import stable_valences
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation.bonded_chunks import BondedChunk, bonded_chunks


@dataclass(frozen=True)
class StabilityResult:
    """Stability of M molecules, in the order of the set.

    Attributes:
        stable_atoms: [M] atoms with a right valence.
        num_atoms: [M] all atoms.
    """

    stable_atoms: NDArray[np.int64]
    num_atoms: NDArray[Any]

    @property
    def stable(self) -> NDArray[np.bool_]:
        """[M] whether all atoms of the molecule are stable."""
        return self.stable_atoms == self.num_atoms

    @property
    def atom_stability(self) -> float:
        """Share of stable atoms among all atoms of the pool (not the mean of the molecules' shares)."""
        return float(self.stable_atoms.sum() / self.num_atoms.sum())

    @property
    def molecule_stability(self) -> float:
        """Share of stable molecules."""
        return float(self.stable.mean())


def stability(molecules: MoleculeSet) -> StabilityResult:
    """Count the stable atoms of each molecule; a molecule with a coordinate that is not finite has none.

    Raises:
        DataError: an empty set, or an atomic number outside 1 to 118.
    """
    if not len(molecules):
        raise DataError("there are no molecules to measure.")
    stable_atoms = np.zeros(len(molecules), dtype=np.int64)
    for chunk in bonded_chunks(molecules):
        stable_atoms[chunk.indices] = stable_atoms_of(chunk)
    return StabilityResult(stable_atoms, molecules.num_atoms)


def stable_atoms_of(chunk: BondedChunk) -> NDArray[np.int64]:
    """[B] atoms with a right valence; none in a molecule that is not finite."""
    stable = stable_valences(chunk.charges, chunk.bonds) & chunk.finite[:, None]
    return np.asarray(stable.sum(axis=1))
