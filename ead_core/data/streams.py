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

from ead_core.chemistry.molecule import Molecule
from ead_core.data.readers import is_text, table_batches, unparsed_records
from ead_core.data.records import Named, ReadReport, Unparsed, assemble, screen
from ead_core.data.sources import molecule_files

BATCH = 128  # records that are read together; what is numbered is numbered batch by batch


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
        sources: molecule files, or folders of them; see `sources` for what is read of a folder.
        size: records per batch.

    Raises:
        DataError: a source that does not exist, is of an unknown kind, or cannot be read.
    """
    for path in itertools.chain.from_iterable(map(molecule_files, sources)):
        if is_text(path):
            yield from _cut_records(unparsed_records(path), size)
        else:
            yield from itertools.starmap(Batch, table_batches(path, size))


def read_batches(sources: Sequence[Path], size: int = BATCH) -> Iterator[ReadReport]:
    """The molecules of files in batches, read as they are needed."""
    return (batch.read() for batch in batches(sources, size))


def _cut_records(records: Iterator[Unparsed], size: int) -> Iterator[Batch]:
    while several := list(itertools.islice(records, size)):
        yield Batch(len(several), functools.partial(_parsed, several))


def _parsed(records: Sequence[Unparsed]) -> Named:
    return assemble(parse() for parse in records)


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
