"""The molecules of a user, from whatever they are in: 3D structures as they are, SMILES built in 3D."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ead_core.data.electrons import net_charges
from ead_core.data.formats import read_molecules
from ead_core.data.records import ReadReport, Skipped
from ead_core.data.smiles_files import is_smiles_file, read_smiles
from ead_core.data.structures import build
from ead_core.errors import DataError

CHARGED = "it has a charge, and these models make neutral molecules."


def read_own(
    source: Path, seed: int = 0, workers: int = 1, progress: Callable[[int], None] | None = None
) -> ReadReport:
    """The neutral molecules of a source; all others are among the skipped.

    Args:
        source: a list of SMILES (see `read_smiles`), or anything that `read_molecules` takes.
        seed, workers: of the embedding of SMILES, see `build`.
        progress: receives the number of molecules read or built so far.

    Raises:
        DataError: nothing readable there, or nothing is left.
    """
    report = _built(source, seed, workers, progress) if is_smiles_file(source) else _read(source, progress)
    if not len(report.molecules):
        name, reason = (*report.skipped, ("", "it is empty."))[0]
        raise DataError(f"{source} holds no molecule to learn from; of {len(report.skipped)}, {name}: {reason}")
    return report


def _built(source: Path, seed: int, workers: int, progress: Callable[[int], None] | None) -> ReadReport:
    candidates, skipped = read_smiles(source)
    report = build(candidates, None, seed, min(workers, max(len(candidates) // 16, 1)), progress)
    return replace(report, skipped=[*skipped, *report.skipped])


def _read(source: Path, progress: Callable[[int], None] | None) -> ReadReport:
    report = read_molecules(source, progress=progress)
    neutral = net_charges(report.molecules) == 0
    charged = [Skipped(report.names[place], CHARGED) for place in np.flatnonzero(~neutral)]
    names = [report.names[place] for place in np.flatnonzero(neutral)]
    return replace(report, molecules=report.molecules.select(neutral), skipped=[*report.skipped, *charged], names=names)
