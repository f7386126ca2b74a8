"""Real molecules that others are compared with: their distributions and valences, and which molecules they are.

Measuring a file takes minutes for QM9; the result is kept in the user's cache as long as the file does not change.
"""

import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ead_core.common.files import user_cache
from ead_core.errors import DataError
from ead_core.evaluation.columns import Columns, Progress
from ead_core.evaluation.parts import DEFAULT_PARTS, chosen
from ead_core.evaluation.run import EvaluationPlan, measure_files, settings_of
from ead_core.evaluation.table import TABLE, TALLY, settings_key
from ead_core.evaluation.tally import COUNTS, Tally

BUNDLED = Path(__file__).parent / "references"


@dataclass(frozen=True)
class Known:
    """Molecules that do not count as new, by the SMILES of the published protocol and by InChIKey."""

    smiles: frozenset[str]
    inchikeys: frozenset[str]


def load_reference(
    name_or_path: str,
    workers: int | None = None,
    progress: Progress = lambda done: None,
    parts: Collection[str] = DEFAULT_PARTS,
) -> Tally:
    """The tally of a bundled reference (by name), of an evaluation (its folder or tally.npz), or of molecules.

    Args:
        name_or_path: of the reference.
        workers: processes that measure molecules.
        progress: receives the number of molecules finished since its last call.
        parts: of the card, so that molecules are measured for what it compares.

    Raises:
        DataError: none of these.
    """
    bundled = BUNDLED / f"{name_or_path}.npz"
    if bundled.parent == BUNDLED and bundled.is_file():  # an absolute path would lead elsewhere
        return Tally.load(bundled)
    path = Path(name_or_path)
    if not path.exists():
        names = ", ".join(sorted(found.stem for found in BUNDLED.glob("*.npz")))
        raise DataError(f"reference {path} does not exist; it may be a file of molecules, or one of {names}.")
    if (path / TALLY).is_file():
        return Tally.load(path / TALLY)
    if _is_tally(path):
        return Tally.load(path)
    return completed(_measured(path, workers, progress), parts, progress)


def load_known(path: Path, workers: int | None = None, progress: Progress = lambda done: None) -> Known:
    """The molecules of a file or folder.

    Raises:
        DataError: nothing readable there.
    """
    columns = Columns(_measured(path, workers, progress) / TABLE)
    return Known(frozenset(columns.distinct("published_smiles")), frozenset(columns.distinct("inchikey")))


def known_inchikeys(path: Path, workers: int | None = None) -> frozenset[str]:
    """The InChIKeys of `load_known` alone, which takes a fifth of the time."""
    return frozenset(Columns(_measured(path, workers, lambda done: None) / TABLE).distinct("inchikey"))


def completed(folder: Path, parts: Collection[str], progress: Progress = lambda done: None) -> Tally:
    """The tally of a finished evaluation with what only its whole table shows, which is added as far as parts want it.

    Raises:
        OutputError: the folder cannot be written.
    """
    tally, columns = Tally.load(folder / TALLY), Columns(folder / TABLE)
    before = tally.scaffolds, tally.activations
    for part in chosen(parts):
        part.complete(tally, columns, progress)
    if (tally.scaffolds, tally.activations) != before:
        tally.save(folder / TALLY)
    return tally


def _is_tally(path: Path) -> bool:
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return f"{COUNTS}.npy" in archive.namelist()


def _measured(path: Path, workers: int | None, progress: Progress) -> Path:
    """Folder with the measures of a file, from the cache if they are there."""
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    plan = EvaluationPlan(("geometry",), 0, workers)
    folder = user_cache() / "measured" / settings_key(settings_of([path], plan))[:24]
    if not (folder / TALLY).is_file():
        measure_files([path], folder, plan, progress=progress)
    return folder
