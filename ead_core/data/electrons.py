"""Total charges as the files state them, and whether molecules have an even number of electrons.

The total charge is the property `formal_charge`, a whole number in units of e; a molecule whose file states none counts
as neutral. Closed shells, and with them all bonds that a Lewis structure can draw, need an even number of electrons.

Legend: M molecules.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.data.columns import TOTAL_CHARGE
from ead_core.data.store import MoleculeSet

_BEYOND_ALL = 1e9  # e


def net_charges(molecules: MoleculeSet) -> NDArray[np.int64]:
    """Total charge of each molecule [M] in e; 0 where none is stated, or where what is stated is no whole number."""
    return _whole(_stated(molecules))


def net_charge(molecules: MoleculeSet, index: int) -> int:
    """The same of one molecule."""
    return int(_whole(_stated(molecules)[index : index + 1])[0])


def _stated(molecules: MoleculeSet) -> NDArray[Any]:
    stated = np.asarray(molecules.properties.get(TOTAL_CHARGE, ()))
    return stated if stated.shape == (len(molecules),) and stated.dtype.kind in "iuf" else np.zeros(len(molecules))


def _whole(stated: NDArray[Any]) -> NDArray[np.int64]:
    known = np.isfinite(stated) & (np.abs(stated) < _BEYOND_ALL) & (stated == np.round(stated))
    return np.where(known, stated, 0).astype(np.int64)


def electrons(charges: NDArray[Any], net_charge: int = 0) -> int:
    """Electrons of one molecule with these atomic numbers [N] and total charge in e."""
    return int(np.sum(charges)) - net_charge


def can_be_closed_shell(charges: NDArray[Any], net_charge: int = 0) -> bool:
    """Whether all electrons can be paired, and the charge is one that the nuclei allow."""
    return electrons(charges, net_charge) % 2 == 0 and abs(net_charge) <= int(np.sum(charges))


def even_electrons(molecules: MoleculeSet) -> NDArray[np.bool_]:
    """Which molecules [M] have an even number of electrons."""
    owner = np.repeat(np.arange(len(molecules)), molecules.num_atoms)
    protons = np.bincount(owner, weights=molecules.charges, minlength=len(molecules)).astype(np.int64)
    return np.asarray((protons - net_charges(molecules)) % 2 == 0)
