"""Reading the fragment that generated molecules shall keep."""

from pathlib import Path

import numpy as np

from ead_core.data.electrons import net_charge
from ead_core.data.formats import read_molecules
from ead_core.data.losses import Losses
from ead_core.diffusion.fragments import Fragment
from ead_core.errors import DataError


def read_fragment(path: Path) -> Fragment:
    """The one molecule of a file, e.g. an SDF: all its atoms are kept, where they are.

    Atoms to which something shall be added must lack their hydrogens.

    Raises:
        DataError: the file cannot be read, or holds not exactly one usable molecule.
    """
    report = read_molecules(path)
    molecules = report.molecules
    Losses([report]).tell()
    if len(molecules) != 1:
        raise DataError(f"a fragment is a file with one molecule, but {path} has {len(molecules)}.")
    charges, positions = molecules.molecule(0)
    return Fragment(charges, positions.astype(np.float64), net_charge(molecules, 0))
