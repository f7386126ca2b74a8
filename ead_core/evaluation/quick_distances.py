"""PoseBusters' checks of distances (its `check_geometry`), for all pairs of atoms at once.

PoseBusters goes through a table pair by pair, which takes twenty times as long as all its other checks together. Here
the bounds come from the same RDKit function, the limits from PoseBusters' own configuration, and the arithmetic is the
same. Whatever is unusual is left to PoseBusters.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem.rdDistGeom import GetMoleculeBoundsMatrix

COMPARED_WITH = "0.6.5"  # the version of PoseBusters whose verdicts these checks reproduce
CLOSE = 1e-9  # to a limit, as a part of the bound
Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]  # the earlier and the later atom of each
_CHARGED_END = Chem.MolFromSmarts("[O,N;D1]-*")  # perhaps of a carboxylate, whose two bonds PoseBusters treats alike


def quick_distances(mol: Chem.Mol, parameters: Mapping[str, Any]) -> dict[str, bool] | None:
    """Whether bonds, angles and all other distances are within their bounds; None where PoseBusters must be asked.

    Args:
        mol: with all hydrogens and one conformer.
        parameters: of `check_geometry`, as in PoseBusters' configuration.
    """
    mol = Chem.Mol(mol)
    if not parameters["sanitize"] or Chem.SanitizeMol(mol, catchErrors=True):
        return None
    if len(Chem.GetMolFrags(mol)) != 1 or mol.HasSubstructMatch(_CHARGED_END):
        return None
    try:
        bounds = GetMoleculeBoundsMatrix(mol, **parameters["bound_matrix_params"])
    except RuntimeError:
        return None
    pairs = _pairs(mol, heavy=parameters["ignore_hydrogens"])
    near, far = _beyond(mol, bounds, pairs)
    joined = Chem.GetAdjacencyMatrix(mol).astype(bool)
    bond, angle = joined[pairs], (joined @ joined)[pairs]
    excess = {
        "bond_lengths_within_bounds": np.maximum(near, far)[bond] - parameters["threshold_bad_bond_length"],
        "bond_angles_within_bounds": np.maximum(near, far)[angle & ~bond] - parameters["threshold_bad_angle"],
        "no_internal_clash": near[~bond & ~angle] - parameters["threshold_clash"],
    }
    if not all((np.abs(each) > CLOSE).all() for each in excess.values()):  # also where a coordinate is no number
        return None
    return {name: bool((each < 0).all()) for name, each in excess.items()}


def _pairs(mol: Chem.Mol, *, heavy: bool) -> Pairs:
    """The earlier and the later atom of each pair, without hydrogen atoms if only heavy ones count."""
    counts = np.array([atom.GetAtomicNum() > 1 or not heavy for atom in mol.GetAtoms()])
    return np.nonzero(np.triu(counts[:, None] & counts[None, :], k=1))  # type: ignore[return-value]


def _beyond(
    mol: Chem.Mol, bounds: NDArray[np.float64], pairs: Pairs
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By which part of its lower bound a pair is too near, and of its upper bound too far apart; negative within."""
    earlier, later = pairs
    positions = mol.GetConformer().GetPositions()
    distances = np.linalg.norm(positions[earlier] - positions[later], axis=-1)
    lowest, highest = bounds[later, earlier], bounds[earlier, later]
    return (lowest - distances) / lowest, (distances - highest) / highest
