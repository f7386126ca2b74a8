"""The published EDM figures of molecules at hand, measured in this process: quick, for sweeps and trainings."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import rdkit

from ead_core.common.files import write_aside
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation.card import Evaluated, make_card
from ead_core.evaluation.chunk import PUBLISHED, Chunk
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.measure import published_rows
from ead_core.evaluation.reference import Known
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.smiles import Progress, assess, smiles_of
from ead_core.evaluation.table import as_table


def evaluate_published(
    molecules: MoleculeSet,
    train_smiles: Collection[str] | None = None,
    *,
    name: str = "molecules",
    workers: int | None = None,
    progress: Progress = lambda done: None,
) -> Evaluated:
    """The card with the published part alone, and its table.

    The figures are those of `evaluate` with `EvaluationPlan(("published",))`, which survives molecules that crash
    RDKit or take forever; molecules of a model do not.

    Args:
        molecules: M molecules; their properties `nfe` and `seconds` are the cost, if they are there.
        train_smiles: SMILES of the training set by the same route (`training_smiles`), for novelty.
        name: of the card.
        workers: processes for RDKit; None takes the cores of this process.
        progress: receives the number of molecules finished since its last call.

    Raises:
        DataError: an empty set, or an atomic number outside 1 to 118.
    """
    if not len(molecules):
        raise DataError("there are no molecules to measure.")
    chunk = Chunk(0, molecules, np.ones(len(molecules), dtype=bool))
    measured = published_rows(chunk, assess(molecules, workers, progress))
    columns = Columns(as_table(measured.rows))
    known = None if train_smiles is None else Known(frozenset(train_smiles), frozenset())
    plan = EvaluationPlan((PUBLISHED,))
    return Evaluated(make_card(name, columns, measured.tally, plan, known=known), columns)


def training_smiles(molecules: MoleculeSet, workers: int | None = None, cache: Path | None = None) -> frozenset[str]:
    """SMILES of a training set from its coordinates, by the same route as those of generated molecules.

    Args:
        molecules: the training set.
        workers: processes for RDKit.
        cache: folder that keeps one text file per set and RDKit version; None keeps nothing.

    Raises:
        DataError: an atomic number outside 1 to 118.
        OutputError: the folder cannot be written.
    """
    path = cache / f"smiles-{_digest(molecules)}.txt" if cache else None
    if path and path.is_file():
        return frozenset(path.read_text().split())
    found = frozenset(text for text in smiles_of(molecules, workers) if text is not None)
    if path:
        with write_aside(path) as aside:
            aside.write_text("".join(f"{text}\n" for text in sorted(found)))
    return found


def _digest(molecules: MoleculeSet) -> str:
    """Key of a set's SMILES: its atoms, and RDKit's version, which decides what is canonical."""
    digest = hashlib.sha256(rdkit.__version__.encode())
    for array in (molecules.num_atoms, molecules.charges, molecules.positions):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]
