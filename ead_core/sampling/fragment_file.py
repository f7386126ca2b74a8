"""Reading the fragment that generated molecules shall keep."""

from pathlib import Path

import numpy as np

from ead_core.data.formats import read_molecules
from ead_core.data.losses import Losses
from ead_core.errors import DataError
from ead_core.sampling.fragments import Fragment


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
    (molecule,) = molecules
    return Fragment(molecule.charges, molecule.positions.astype(np.float64), molecule.total_charge)
