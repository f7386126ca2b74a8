"""RDKit molecules of bare atoms, with the bonds that the published distance table draws or with none."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.bonds import find_bonds

_KINDS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def molecule_by_table(charges: NDArray[Any], positions: NDArray[Any]) -> Chem.Mol:
    """An unsanitised RDKit molecule with the bonds of its geometry and one conformer.

    Args:
        charges: atomic numbers [N].
        positions: [N, 3] in Å.

    Raises:
        DataError: an atomic number above 118.
    """
    charges, positions = np.asarray(charges), np.asarray(positions)
    return _placed(bonded_atoms(charges, find_bonds(charges[None], positions[None])[:, 1:].tolist()), positions)


def bare_molecule(charges: NDArray[Any], positions: NDArray[Any]) -> Chem.Mol:
    """An unsanitised RDKit molecule of atoms at their positions without any bond; see `molecule_by_table`."""
    return _placed(bonded_atoms(np.asarray(charges), []), np.asarray(positions))


def _placed(mol: Chem.RWMol, positions: NDArray[Any]) -> Chem.Mol:
    """With one conformer."""
    conformer = Chem.Conformer(len(positions))
    conformer.Set3D(True)
    conformer.SetPositions(positions.astype(np.float64))
    mol.AddConformer(conformer)
    return mol.GetMol()


def bonded_atoms(charges: NDArray[Any], bonds: list[list[int]]) -> Chem.RWMol:
    """An unsanitised molecule of bare atoms [n] and their (later, earlier, order) bonds, without positions."""
    mol = Chem.RWMol()
    for number in charges.tolist():
        mol.AddAtom(_atom(number))
    for later, earlier, order in bonds:
        mol.AddBond(later, earlier, _KINDS[order])
    return mol


@functools.cache
def _atom(number: int) -> Chem.Atom:
    """A bare atom; a molecule takes a copy."""
    return Chem.Atom(number)
