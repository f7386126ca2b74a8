"""Which files a source means: one rule for every command that reads molecules.

A file means itself. A folder means its files of one kind, the first of `KINDS` that it has, since the others may hold
the same molecules once more; so does an archive, wherever in it they are. Folders within a folder are not looked into.
What is left out is reported.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ead_core.data.archives import ARCHIVES, archive_of
from ead_core.data.shard_folders import missing_shards
from ead_core.data.texts import PACKINGS, natural_key, packing_of
from ead_core.errors import DataError
from ead_core.notes import note

TABLES = (".parquet", ".npz")
TEXTS = (".sdf", ".mol", ".xyz")
KINDS = (*TABLES, *TEXTS)  # of several in a folder, the first is read
_SYNONYMS = {".sd": ".sdf", ".extxyz": ".xyz"}
ACCEPTED = ", ".join((*TABLES, *TEXTS, *(f"{kind}{packing}" for kind in TEXTS for packing in PACKINGS), *ARCHIVES))


def kind_of(name: str) -> str:
    """Which of `KINDS` a file is by its name, packed or not, '' if none."""
    packing = packing_of(name)
    ending = Path(name.lower().removesuffix(packing)).suffix
    kind = _SYNONYMS.get(ending, ending)
    return kind if kind in TEXTS or (kind in TABLES and not packing) else ""


def molecule_files(source: Path) -> list[Path]:
    """The file itself, or the molecule files of a folder in natural order.

    Raises:
        DataError: there are none, or the file is missing, empty, or of an unknown kind.
    """
    if source.is_dir():
        return _of_folder(source)
    if not source.exists():
        raise DataError(f"data file {source} does not exist.")
    if not kind_of(source.name) and not archive_of(source.name):
        raise DataError(f"{source} is of an unknown kind; accepted are {ACCEPTED} and a folder of such files.")
    if source.is_file() and source.stat().st_size == 0:
        raise DataError(f"{source} is empty.")
    return [source]


def preferred(kinds: Iterable[str]) -> str:
    """The kind that is read of several ('' if there is none)."""
    return min(kinds, key=KINDS.index, default="")


def tell_left(source: Path, kind: str, count: int, left: Mapping[str, int]) -> None:
    """Say, if something was left, what was read.

    Args:
        source: a folder or an archive.
        kind: that was read.
        count: of files of this kind.
        left: how many were not read, by what they are.
    """
    others = [f"{what} ({number:,})" for what, number in sorted(left.items()) if number]
    if others:
        note(f"of {source} only the {kind} files are read ({count:,}); left out: {', '.join(others)}.")


def _of_folder(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
        below = sum(any(_molecules_in(path)) for path in paths if path.is_dir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror or error}).") from error
    files = [path for path in paths if path.is_file()]
    counts = Counter(kind_of(path.name) or archive_of(path.name) for path in files)
    counts.pop("", None)
    kind = preferred(counts.keys() & set(KINDS))
    if not kind:
        raise DataError(_no_molecules(folder, counts, below))
    chosen = _without_twins(path for path in files if kind_of(path.name) == kind)
    left = {f"{other}": number for other, number in counts.items() if other != kind}
    twins = counts[kind] - len(chosen)
    tell_left(folder, kind, len(chosen), {**left, f"packed {kind} of the same name": twins, "folders in it": below})
    if incomplete := missing_shards(folder):
        note(incomplete)
    return chosen


def _molecules_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if kind_of(path.name) and not path.name.startswith("."))


def _without_twins(paths: Iterable[Path]) -> list[Path]:
    """In natural order; of `a.xyz` and `a.xyz.gz` only the first."""
    chosen: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (natural_key(path.name.removesuffix(packing_of(path.name))), path.name)):
        chosen.setdefault(path.name.removesuffix(packing_of(path.name)), path)
    return list(chosen.values())


def _no_molecules(folder: Path, counts: Mapping[str, int], below: int) -> str:
    if counts:
        return f"{folder} is a folder that holds archives but no molecule files ({', '.join(KINDS)}); name an archive."
    if below:
        return f"{folder} has molecule files only in its {below} folders, which are not looked into; name one of them."
    return f"{folder} is a folder without molecule files ({', '.join(KINDS)})."
