"""The records of a file by its kind: text is cut into records that are not parsed yet, tables are read by rows."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rdkit import rdBase

from ead_core.common.limits import NAME
from ead_core.data.archives import archive_of, members
from ead_core.data.npz_stream import npz_batches
from ead_core.data.parquet import load_parquet, molecules_of, parquet_batches
from ead_core.data.records import Named, Outcome, Unparsed, assemble
from ead_core.data.sdf import unparsed_sdf
from ead_core.data.sources import TEXTS, kind_of, preferred, tell_left
from ead_core.data.texts import natural_key, open_text, text_lines
from ead_core.data.xyz import unparsed_xyz
from ead_core.errors import DataError

Parse = Callable[[], Named]
T = TypeVar("T")

_CUTTERS: dict[str, Callable[[str, Iterable[str]], Iterator[Unparsed]]] = {
    ".sdf": unparsed_sdf,
    ".mol": unparsed_sdf,
    ".xyz": unparsed_xyz,
}


def is_text(path: Path) -> bool:
    """Whether a molecule file is a text or an archive of texts, and no table."""
    return kind_of(path.name) in TEXTS or bool(archive_of(path.name))


def unparsed_records(path: Path) -> Iterator[Unparsed]:
    """The records of a text file as they are needed, or those of an archive, which is read whole first.

    Raises:
        DataError: it cannot be read, or not within `limits`.
    """
    if archive_of(path.name):
        yield from (functools.partial(_identity, outcome) for outcome in _archived(path))
        return
    with open_text(path) as lines:
        yield from _cut(path.name, lines)


def table_batches(path: Path, size: int) -> Iterator[tuple[int, Parse]]:
    """Number of rows and reader of each batch of a table.

    Raises:
        DataError: it cannot be read, or not within `limits`.
    """
    if kind_of(path.name) == ".npz":
        for part in npz_batches(path, size):
            yield len(part.names) + len(part.skipped), functools.partial(_identity, part)
        return
    first = 1
    for rows in parquet_batches(path, size):
        yield len(rows), functools.partial(molecules_of, rows, path, first)
        first += len(rows)


def whole_table(path: Path) -> Named:
    """All molecules of a table; errors as of `table_batches`."""
    if kind_of(path.name) == ".parquet":
        return load_parquet(path)
    return next(npz_batches(path), assemble(()))


def _identity(value: T) -> T:
    return value


def _cut(name: str, lines: Iterable[str]) -> Iterator[Unparsed]:
    return _CUTTERS[kind_of(name)](name, (line.rstrip("\n") + "\n" for line in lines))


def _archived(path: Path) -> list[Outcome]:
    """The records of an archive's files of one kind (see `sources`), in natural order of their names."""
    found: dict[str, list[Outcome]] = {}
    kind, left = "", Counter[str]()
    for member in members(path):
        own = kind_of(member.name)
        if member.content is None or len(member.name) > NAME:
            left["links and special files" if member.content is None else "files with too long names"] += 1
        elif own in TEXTS and preferred([own, kind or own]) == own:
            if own != kind:
                left[kind] += len(found)
                kind, found = own, {}
            label = f"{path}: {member.path}"
            with rdBase.BlockLogs():
                outcomes = [parse() for parse in _cut(member.name, text_lines(member.content, label))]
            found.setdefault(member.path, []).extend(outcomes)
        else:
            left[own] += 1
    del left[""]
    if not kind:
        raise DataError(f"{path} holds no {', '.join(TEXTS)} file with a molecule.")
    tell_left(path, kind, len(found), left)
    return [outcome for name in sorted(found, key=natural_key) for outcome in found[name]]
