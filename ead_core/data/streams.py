"""Reading molecules a batch at a time, from files that may hold millions and from folders of many files.

All files are read as streams but archives, whose members are put in order first and which are read whole, one after
the other. Cutting a file into records is cheap; a batch is parsed when it is asked for.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rdkit import rdBase

from ead_core.data.formats import MOLECULE_FILES, extension_of, reader_of
from ead_core.data.molecule import Molecule
from ead_core.data.npz_stream import npz_batches
from ead_core.data.parquet import molecules_of, parquet_batches
from ead_core.data.records import Named, ReadReport, Unparsed, assemble, screen
from ead_core.data.sdf import unparsed_sdf
from ead_core.data.texts import natural_key, open_text
from ead_core.data.xyz import unparsed_xyz
from ead_core.errors import DataError

BATCH = 128  # records that are read together; what is numbered is numbered batch by batch
_PREFERRED = (".parquet", ".npz", ".sdf.gz", ".sdf", ".xyz")  # of a folder that has the same molecules in several kinds


class Batch(NamedTuple):
    """Records of a file that are not parsed yet.

    Attributes:
        size: number of records.
        parse: reads them.
    """

    size: int
    parse: Callable[[], Named]

    def read(self) -> ReadReport:
        """The good ones and the bad ones."""
        with rdBase.BlockLogs():
            return screen(self.parse())


def batches(sources: Sequence[Path], size: int = BATCH) -> Iterator[Batch]:
    """At most `size` records at a time, in order; a batch does not reach across files.

    Args:
        sources: molecule files, or folders of them (of one kind: parquet if there is any, else npz, SDF, xyz).
        size: records per batch.

    Raises:
        DataError: a source that does not exist, is of an unknown kind, or cannot be read.
    """
    for path in itertools.chain.from_iterable(map(molecule_files, sources)):
        whole = reader_of(path)
        cut = _CUTTERS.get(extension_of(path, MOLECULE_FILES))
        yield from cut(path, size) if cut else _slices(whole(path, lambda done: None), size)


def read_batches(sources: Sequence[Path], size: int = BATCH) -> Iterator[ReadReport]:
    """The same, read."""
    return (batch.read() for batch in batches(sources, size))


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


def _cut_records(records: Iterator[Unparsed], size: int) -> Iterator[Batch]:
    while several := list(itertools.islice(records, size)):
        yield Batch(len(several), functools.partial(_parsed, several))


def _parsed(records: Sequence[Unparsed]) -> Named:
    return assemble(parse() for parse in records)


def _cut_sdf(path: Path, size: int) -> Iterator[Batch]:
    return _cut_records(unparsed_sdf(path), size)


def _cut_xyz(path: Path, size: int) -> Iterator[Batch]:
    with open_text(path) as file:
        yield from _cut_records(unparsed_xyz(path.name, (line.rstrip("\n") for line in file)), size)


def _cut_npz(path: Path, size: int) -> Iterator[Batch]:
    first = 1
    for molecules in npz_batches(path, size):
        names = [f"{path.name}, molecule {number}" for number in range(first, first + len(molecules))]
        yield Batch(len(names), functools.partial(Named, names, molecules))
        first += len(names)


def _cut_parquet(path: Path, size: int) -> Iterator[Batch]:
    first = 1
    for rows in parquet_batches(path, size):
        yield Batch(len(rows), functools.partial(molecules_of, rows, path, first))
        first += len(rows)


_CUTTERS: dict[str, Callable[[Path, int], Iterator[Batch]]] = {
    ".sdf": _cut_sdf,
    ".sdf.gz": _cut_sdf,
    ".xyz": _cut_xyz,
    ".npz": _cut_npz,
    ".parquet": _cut_parquet,
}


def _slices(whole: Named, size: int) -> Iterator[Batch]:
    """Of what is in memory; the bad ones follow the good ones."""
    for start in range(0, len(whole.names), size):
        rows = range(start, min(start + size, len(whole.names)))
        names = [whole.names[row] for row in rows]
        yield Batch(len(rows), functools.partial(Named, names, whole.molecules.select(rows)))
    for start in range(0, len(whole.skipped), size):
        bad = whole.skipped[start : start + size]
        yield Batch(len(bad), functools.partial(Named, [], whole.molecules.select([]), bad))


def molecules_at(sources: Sequence[Path], numbers: Iterable[int]) -> dict[int, Molecule]:
    """The molecules with these numbers, as far as they are good.

    Args:
        sources: see `batches`.
        numbers: among all records, good and bad; within a batch the good come first.
    """
    wanted = sorted(set(numbers))
    found: dict[int, Molecule] = {}
    first = 0
    for batch in batches(sources):
        here = [number for number in wanted if first <= number < first + batch.size]
        molecules = batch.read().molecules if here else None
        for number in here:
            if molecules is not None and number - first < len(molecules):
                found[number] = molecules[number - first]
        first += batch.size
        if not wanted or first > wanted[-1]:
            break
    return found
