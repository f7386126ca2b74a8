"""Bonds and valences read off the geometry, as EDM does it (Hoogeboom et al. 2022, `bond_analyze.py`).

A pair is bonded if it is closer than the typical single bond plus 10 pm, doubly if also closer than the
double bond plus 5 pm, triply if also closer than the triple bond plus 3 pm. All comparisons are strict; there
are no aromatic bonds and no formal charges.

Only H, C, N, O and F, the elements of QM9, are judged so. EDM's file has lengths and valences for B, Si, P, S, Cl, As,
Br and I as well, with which it measures drug-like molecules. For these and all others the rule here is OURS: a single
bond below the sum of RDKit's covalent radii plus the same 10 pm, and any of RDKit's valences.

Legend: B molecules, N padded atoms (charge 0), Z atomic number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.elements import HEAVIEST
from ead_core.errors import DataError

_ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
PUBLISHED_ELEMENTS = frozenset(_ELEMENTS)
_VALENCES = {"H": 1, "C": 4, "N": 3, "O": 2, "F": 1}
_LENGTHS = (  # pm
    {"HH": 74, "HC": 109, "HN": 101, "HO": 96, "HF": 92, "CC": 154, "CN": 147, "CO": 143, "CF": 135}
    | {"NN": 145, "NO": 140, "NF": 136, "OO": 148, "OF": 142, "FF": 142},
    {"CC": 134, "CN": 129, "CO": 120, "NN": 125, "NO": 121, "OO": 121},
    {"CC": 120, "CN": 116, "CO": 113, "NN": 110},
)
_MARGINS = (10, 5, 3)  # pm, for single, double and triple bonds
_TOO_MANY = 9  # bonds; no element of RDKit's table allows more than 8


def _longest_bonds() -> NDArray[np.float32]:
    """Squared length in Å² [3, Z + 1, Z + 1] below which a pair has a bond of order 1, 2, 3; 0 if never."""
    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRcovalent(z) for z in range(HEAVIEST + 1)])
    longest = np.zeros((3, HEAVIEST + 1, HEAVIEST + 1))
    longest[0] = 100 * (radii[:, None] + radii[None, :]) + _MARGINS[0]
    longest[0, 0, :] = longest[0, :, 0] = 0  # padding bonds to nothing
    for order, lengths in enumerate(_LENGTHS):
        for pair, length in lengths.items():
            i, j = _ELEMENTS[pair[0]], _ELEMENTS[pair[1]]
            longest[order, i, j] = longest[order, j, i] = length + _MARGINS[order]
    return (longest / 100).astype(np.float32) ** 2


def _allowed_valences() -> NDArray[np.bool_]:
    """Whether an atom of element Z may have v bonds, [Z + 1, v], the last v standing for any more."""
    table = Chem.GetPeriodicTable()
    allowed = np.zeros((HEAVIEST + 1, _TOO_MANY + 1), dtype=bool)
    for z in range(1, HEAVIEST + 1):
        valences = list(table.GetValenceList(z))
        allowed[z, [v for v in valences if v >= 0]] = True
        allowed[z] |= -1 in valences  # RDKit's mark for metals and others: any number
    for symbol, valence in _VALENCES.items():
        allowed[_ELEMENTS[symbol]] = np.arange(_TOO_MANY + 1) == valence
    return allowed


_LONGEST = _longest_bonds()
_ALLOWED = _allowed_valences()


def find_bonds(charges: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.int64]:
    """All bonds of a batch, each once.

    Squared lengths are compared in float32, as coordinates are stored, so that a pair at exactly the limit is
    not bonded. Atoms whose coordinates are not finite have no bonds.

    Args:
        charges: atomic numbers [B, N], 0 where padded.
        positions: [B, N, 3] in Å.

    Returns:
        Molecule, later atom, earlier atom and order (1 to 3) of each bond, in ascending order, [bonds, 4].

    Raises:
        DataError: an atomic number above 118 or below 0.
    """
    check_elements(charges, lowest=0)
    N = charges.shape[1]
    squared = _squared_distances(positions.astype(np.float32))
    present = np.flatnonzero(np.bincount(charges.ravel(), minlength=HEAVIEST + 1))
    near = (squared < _LONGEST[0][np.ix_(present, present)].max()) & np.tri(N, k=-1, dtype=bool)
    candidates = np.flatnonzero(near)  # few: only these are looked up by element
    rows, earlier = np.divmod(candidates, N)
    molecule, later = np.divmod(rows, N)
    limits = _LONGEST[:, charges[molecule, later], charges[molecule, earlier]]
    within = np.logical_and.accumulate(squared.ravel()[candidates] < limits)  # double only if single
    bonds = np.stack([molecule, later, earlier, within.sum(axis=0)], axis=1)
    return bonds[within[0]]


def _squared_distances(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances in Å² of all pairs, [B, N, N]."""
    B, N, _ = positions.shape
    squared = np.zeros((B, N, N), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # diverged atoms are inf or NaN away: not bonded
        for axis in range(3):
            along = np.ascontiguousarray(positions[:, :, axis])
            difference = along[:, :, None] - along[:, None, :]
            difference *= difference
            squared += difference
    return squared


def check_elements(charges: NDArray[Any], lowest: int) -> None:
    """DataError unless atomic numbers [any shape] lie between `lowest`, 0 where padding is allowed, and 118."""
    if charges.size and not lowest <= charges.min() <= charges.max() <= HEAVIEST:
        raise DataError(f"atomic numbers must lie between 1 and {HEAVIEST}.")


def stable_valences(charges: NDArray[Any], bonds: NDArray[Any]) -> NDArray[np.bool_]:
    """Which atoms [B, N] have exactly a valence of their element; False where padded.

    H 1, C 4, N 3, O 2 and F 1 as published; any valence of RDKit's table for other elements.

    Args:
        charges: atomic numbers [B, N], 0 where padded.
        bonds: [bonds, 4] as from `find_bonds`.
    """
    molecule, later, earlier, order = bonds.T
    start = molecule * charges.shape[1]
    atoms = np.concatenate([start + later, start + earlier])
    valences = np.bincount(atoms, np.concatenate([order, order]), minlength=charges.size).astype(np.int64)
    return _ALLOWED[charges, np.minimum(valences, _TOO_MANY).reshape(charges.shape)]


def is_stable(charges: NDArray[Any], positions: NDArray[Any]) -> bool:
    """Whether every atom of one molecule has exactly a valence of its element, with the bonds of `find_bonds`.

    Args:
        charges: atomic numbers [N].
        positions: [N, 3] in Å; a molecule with a coordinate that is not finite is not stable.
    """
    charges, positions = np.asarray(charges)[None], np.asarray(positions)[None]
    return bool(np.isfinite(positions).all() and stable_valences(charges, find_bonds(charges, positions)).all())
