"""Total charges of the molecules of a set, and whether they have an even number of electrons.

The total charge is the property `formal_charge`, a whole number in units of e; a molecule whose file states none counts
as neutral. Closed shells, and with them all bonds that a Lewis structure can draw, need an even number of electrons.

Legend: M molecules.
"""

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.electrons import TOTAL_CHARGE, whole_charge
from ead_core.data.store import MoleculeSet


def net_charges(molecules: MoleculeSet) -> NDArray[np.int64]:
    """Total charge of each molecule [M] in e; 0 where none is stated, or where what is stated is no whole number."""
    stated = np.asarray(molecules.properties.get(TOTAL_CHARGE, ()))
    if stated.shape != (len(molecules),):
        return np.zeros(len(molecules), np.int64)
    return np.array([whole_charge(value) for value in stated.tolist()], dtype=np.int64)


def even_electrons(molecules: MoleculeSet) -> NDArray[np.bool_]:
    """Which molecules [M] have an even number of electrons."""
    owner = np.repeat(np.arange(len(molecules)), molecules.num_atoms)
    protons = np.bincount(owner, weights=molecules.charges, minlength=len(molecules)).astype(np.int64)
    return np.asarray((protons - net_charges(molecules)) % 2 == 0)
