"""Reading and writing molecule files: what a path means, and bad molecules treated alike in every format."""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import rdBase

from ead_core.common.files import check_writable
from ead_core.data.gdb9 import read_exclusions
from ead_core.data.names import fitting_names, renaming_notes
from ead_core.data.parquet import write_parquet
from ead_core.data.readers import is_text, unparsed_records, whole_table
from ead_core.data.records import Named, Outcome, ReadReport, assemble, property_name, screen
from ead_core.data.sdf_writer import write_sdf
from ead_core.data.sources import molecule_files
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.data.xyz_writer import write_xyz
from ead_core.errors import DataError, OutputError

Progress = Callable[[int], None]

_PROGRESS_EVERY = 200  # records


About = Mapping[str, str]  # what a file says of its molecules together, by name
Writer = Callable[[MoleculeSet, Path, About], list[str]]


def _storing(write: Callable[[MoleculeSet, Path, About], None]) -> Writer:
    """The writer of a store of arrays, which uses some names itself."""

    def stored(molecules: MoleculeSet, path: Path, about: About) -> list[str]:
        names = fitting_names(molecules.properties, property_name)
        properties = {names[name]: _without_objects(values) for name, values in molecules.properties.items()}
        write(replace(molecules, properties=properties), path, about)
        return renaming_notes(names)

    return stored


def _listing(write: Callable[[MoleculeSet, Path], list[str]]) -> Writer:
    """The writer of a list of records, the first of which tells what the file says of all."""

    def listed(molecules: MoleculeSet, path: Path, about: About) -> list[str]:
        rows = range(len(molecules))
        first = {name: np.array([text if row == 0 else "" for row in rows], object) for name, text in about.items()}
        return write(replace(molecules, properties={**molecules.properties, **first}), path)

    return listed


def _without_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Python's own objects as text, '' where there is none."""
    values = np.asarray(values)
    if values.dtype.kind != "O":
        return values
    return np.array(["" if value is None else str(value) for value in values.tolist()])


_WRITERS: dict[str, Writer] = {
    ".npz": _storing(save_npz),
    ".parquet": _storing(write_parquet),
    ".xyz": _listing(write_xyz),
    ".sdf": _listing(write_sdf),
    ".sdf.gz": _listing(write_sdf),
}


def read_molecules(
    source: Path | str, *, exclude: Path | str | None = None, progress: Progress | None = None
) -> ReadReport:
    """Read the molecules of a file, a folder or an archive, leaving out bad ones.

    Args:
        source: `.npz`, `.parquet`, `.sdf`, `.mol` or `.xyz` (plain, extended or GDB9), the latter three also packed
            (`.gz`, `.bz2`); or a folder or an archive (`.tar`, `.tgz`, `.tar.bz2`, `.zip`) of them, see `sources`.
        exclude: text file of GDB9 numbers to leave out, for example `uncharacterized.txt`.
        progress: called now and then, and at the end, with the number of records read so far.

    Raises:
        DataError: nothing readable at `source`, or no good molecule in it.
    """
    source = Path(source)
    excluded = read_exclusions(Path(exclude)) if exclude is not None else None
    report = screen(read_named(source, progress))
    if not len(report.molecules):
        raise DataError(_nothing_usable(source, report))
    return report if excluded is None else _without(report, excluded, source)


def read_named(source: Path, progress: Progress | None = None) -> Named:
    """All records of a source, not screened yet; see `read_molecules`.

    Raises:
        DataError: nothing readable at `source`.
    """
    progress = progress or (lambda _: None)
    files = molecule_files(source)
    with rdBase.BlockLogs():
        if is_text(files[0]):
            records = itertools.chain.from_iterable(map(unparsed_records, files))
            return assemble(_counted((parse() for parse in records), progress))
        return _joined(files, progress)


def write_molecules(molecules: MoleculeSet, path: Path | str, about: About | None = None) -> list[str]:
    """Write molecules in the format of the extension: `.npz`, `.parquet`, `.xyz`, `.sdf` or `.sdf.gz`.

    An SDF has the perceived bonds and charges; the other formats have no bonds.

    Args:
        molecules: M molecules.
        path: of the file.
        about: what it shall say of all of them, by name, such as a ledger: in the footer of a table
            (`parquet_entries`), in an array of its own (`npz_about`), or among the properties of the first molecule.

    Returns:
        A sentence for each thing that the file does not hold as it was.

    Raises:
        OutputError: another extension, or a place that cannot be written.
    """
    path = Path(path)
    check_output(path)
    try:
        return _WRITERS[extension_of(path, _WRITERS)](molecules, path, about or {})
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error


def encode_molecules(molecules: MoleculeSet, extension: str, about: About | None = None) -> bytes:
    """The file that `write_molecules` would write, as bytes; equal molecules give equal bytes.

    Raises:
        OutputError: an unknown extension.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"molecules{extension}")
        write_molecules(molecules, path, about)
        return path.read_bytes()


def check_output(path: Path | str, *others: str) -> None:
    """Raise, before any long work, the OutputError that writing molecules to `path` would end in.

    Args:
        path: of the file.
        others: endings that the caller writes by itself.
    """
    path, endings = Path(path), (*others, *_WRITERS)
    if not extension_of(path, endings):
        raise OutputError(f"cannot write {path}: the name must end in one of {', '.join(endings)}.")
    check_writable(path)


def _joined(files: Sequence[Path], progress: Progress) -> Named:
    """All molecules of tables."""
    parts = []
    for path in files:
        parts.append(whole_table(path))
        progress(sum(len(part.names) + len(part.skipped) for part in parts))
    return Named(
        [name for part in parts for name in part.names],
        MoleculeSet.concatenate([part.molecules for part in parts]) if len(parts) > 1 else parts[0].molecules,
        [bad for part in parts for bad in part.skipped],
        tuple(misfit for part in parts for misfit in part.misfits),
    )


def extension_of(path: Path, known: Iterable[str]) -> str:
    """The known extension that the name ends in, or ''."""
    return next((ending for ending in known if path.name.lower().endswith(ending)), "")


def _counted(outcomes: Iterable[Outcome], progress: Progress) -> Iterator[Outcome]:
    count = 0
    for count, outcome in enumerate(outcomes, start=1):
        if count % _PROGRESS_EVERY == 0:
            progress(count)
        yield outcome
    progress(count)


def _nothing_usable(source: Path, report: ReadReport) -> str:
    if not report.skipped:
        return f"{source} holds no molecule."
    name, reason = report.skipped[0]
    return f"{source} holds no usable molecule, all {len(report.skipped)} are bad; the first is {name}: {reason}"


def _without(report: ReadReport, numbers: set[int], source: Path) -> ReadReport:
    index = np.asarray(report.molecules.properties.get("index", ""))
    if index.dtype.kind not in "iuf" or index.ndim != 1:
        raise DataError(f"{source} has no GDB9 numbers (property 'index'), so the exclusion list cannot be used.")
    keep = ~np.isin(index, list(numbers))
    if not keep.any():
        raise DataError(f"the exclusion list takes out all {len(keep)} molecules of {source}.")
    names = [report.names[place] for place in np.flatnonzero(keep)]
    return ReadReport(report.molecules.select(keep), report.skipped, int((~keep).sum()), names)
