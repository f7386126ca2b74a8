"""Which atoms of a molecule are at fault, as far as single atoms can be named, and which are near them.

Legend: N atoms.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.chemistry.bonds import find_bonds, stable_valences
from ead_core.chemistry.perception import PerceptionError, perceive
from ead_core.chemistry.usual import USUAL
from ead_core.chemistry.valency import in_ions, valencies


def defective_atoms(charges: NDArray[Any], positions: NDArray[Any], net_charge: int = 0) -> NDArray[np.bool_]:
    """Which atoms [N] keep a molecule from being strictly valid or, if it is that, from being stable.

    With perceived bonds these are atoms of an unusual valence, with unpaired electrons, or outside of the largest
    piece; without, or if there are none, those of a wrong valence by the published bond tables, which also refuse some
    real molecules. No atom may be named although the molecule is at fault: where the number of electrons is odd, any
    atom may be the one too few or too many.

    Args:
        charges: [N] atomic numbers.
        positions: [N, 3] in Å.
        net_charge: of the molecule, in e.

    Raises:
        DataError: an atomic number outside 0 to 118.
    """
    unstable = ~stable_valences(charges[None], find_bonds(charges[None], positions[None]))[0]
    try:
        mol = perceive(charges, positions, net_charge)
    except PerceptionError:
        return unstable | _in_smaller_pieces(molecule_by_table(charges, positions))
    faults = _unusual(mol) | _in_smaller_pieces(mol)
    return faults if faults.any() else unstable


def within_bonds(
    atoms: NDArray[np.bool_], charges: NDArray[Any], positions: NDArray[Any], hops: int
) -> NDArray[np.bool_]:
    """Which atoms [N] can be reached from some of them [N] over at most `hops` bonds of the published tables."""
    bonded = Chem.GetAdjacencyMatrix(molecule_by_table(charges, positions)).astype(bool)
    for _ in range(hops):
        wider = atoms | bonded[atoms].any(axis=0)
        if np.array_equal(wider, atoms):
            break
        atoms = wider
    return atoms


def _unusual(mol: Chem.Mol) -> NDArray[np.bool_]:
    usual = in_ions(USUAL) if Chem.GetFormalCharge(mol) else USUAL
    radical = [atom.GetNumRadicalElectrons() > 0 for atom in mol.GetAtoms()]
    return np.array(radical) | [valency not in usual.get(kind, ()) for kind, valency in valencies(mol)]


def _in_smaller_pieces(mol: Chem.Mol) -> NDArray[np.bool_]:
    """Atoms [N] outside of the piece with most atoms, the first of several."""
    outside = np.ones(mol.GetNumAtoms(), dtype=bool)
    pieces = [list(piece) for piece in Chem.GetMolFrags(mol)]
    outside[pieces[int(np.argmax([len(piece) for piece in pieces]))]] = False
    return outside
