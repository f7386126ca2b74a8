"""Charges and electrons of one molecule: a total charge as files state it, and whether all electrons can be paired."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOTAL_CHARGE = "formal_charge"  # the property of a molecule, in e
_BEYOND_ALL = 1e9  # e


def whole_charge(stated: object) -> int:
    """A stated total charge in e; 0 where none is stated, or where what is stated is no whole number."""
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not math.isfinite(stated):
        return 0
    return int(stated) if abs(stated) < _BEYOND_ALL and stated == round(stated) else 0


def electrons(charges: NDArray[Any], net_charge: int = 0) -> int:
    """Electrons of one molecule with these atomic numbers [N] and total charge in e."""
    return int(np.sum(charges)) - net_charge


def can_be_closed_shell(charges: NDArray[Any], net_charge: int = 0) -> bool:
    """Whether all electrons can be paired, and the charge is one that the nuclei allow."""
    return electrons(charges, net_charge) % 2 == 0 and abs(net_charge) <= int(np.sum(charges))
