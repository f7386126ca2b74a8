"""Reading molecules a batch at a time, from files that may hold millions and from folders of many files.

SDF is read as a stream. Files of arrays (`.npz`, `.parquet`), archives and `.xyz` are read whole, one after the
other, at about 0.3 GB per million molecules of QM9's size; generated shards are far smaller.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rdkit import rdBase

from ead_core.data.formats import MOLECULE_FILES, extension_of, read_named
from ead_core.data.records import Named, ReadReport, assemble, screen
from ead_core.data.sdf import read_sdf
from ead_core.data.texts import natural_key
from ead_core.errors import DataError

BATCH = 128  # records that are read together; what is numbered is numbered batch by batch
_PREFERRED = (".parquet", ".npz", ".sdf.gz", ".sdf", ".xyz")  # of a folder that has the same molecules in several kinds


def read_batches(sources: Sequence[Path], size: int = BATCH) -> Iterator[ReadReport]:
    """At most `size` records at a time, good and bad, in order; a batch does not reach across files.

    Args:
        sources: molecule files, or folders of them (of one kind: parquet if there is any, else npz, SDF, xyz).
        size: records per batch.

    Raises:
        DataError: a source that does not exist, is of an unknown kind, or cannot be read.
    """
    for path in itertools.chain.from_iterable(map(molecule_files, sources)):
        for named in _named_batches(path, size):
            with rdBase.BlockLogs():
                report = screen(named)
            yield report


def molecule_files(source: Path) -> list[Path]:
    """The file itself, or the molecule files of a folder in natural order (DataError if there are none)."""
    if not source.is_dir():
        return [source]
    found = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    for kind in _PREFERRED:
        of_kind = [path for path in found if extension_of(path, MOLECULE_FILES) == kind]
        if of_kind:
            return sorted(of_kind, key=lambda path: natural_key(path.name))
    raise DataError(f"{source} is a folder without molecule files ({', '.join(_PREFERRED)}).")


def _named_batches(path: Path, size: int) -> Iterator[Named]:
    if extension_of(path, MOLECULE_FILES) in (".sdf", ".sdf.gz") and path.is_file() and path.stat().st_size:
        outcomes = read_sdf(path)
        while batch := list(itertools.islice(outcomes, size)):
            yield assemble(batch)
        return
    whole = read_named(path)
    for start in range(0, len(whole.names), size):
        rows = range(start, min(start + size, len(whole.names)))
        yield Named([whole.names[row] for row in rows], whole.molecules.select(rows))
    for start in range(0, len(whole.skipped), size):
        yield Named([], whole.molecules.select([]), whole.skipped[start : start + size])


def molecules_at(sources: Sequence[Path], numbers: Iterable[int]) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Atomic numbers [N] and positions [N, 3] of the molecules with these numbers, as far as they are good.

    Args:
        sources: see `read_batches`.
        numbers: among all records, good and bad; within a batch the good come first.
    """
    wanted = sorted(set(numbers))
    found: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
    first = 0
    for report in read_batches(sources):
        if not wanted or first > wanted[-1]:
            break
        for number in wanted:
            if 0 <= number - first < len(report.molecules):
                found[number] = report.molecules.molecule(number - first)
        first += len(report.molecules) + len(report.skipped)
    return found
