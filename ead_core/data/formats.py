"""Reading and writing molecule files: what a path means, and bad molecules treated alike in every format."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import rdBase

from ead_core.data.gdb9 import read_exclusions
from ead_core.data.names import fitting_names, renaming_notes
from ead_core.data.parquet import load_parquet, write_parquet
from ead_core.data.records import Named, Outcome, ReadReport, assemble, property_name, screen
from ead_core.data.sdf import read_sdf
from ead_core.data.sdf_writer import write_sdf
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.data.texts import archive_texts, folder_texts, natural_key, read_text
from ead_core.data.xyz import parse_xyz
from ead_core.data.xyz_writer import write_xyz
from ead_core.errors import DataError, OutputError
from ead_core.files import check_writable

Progress = Callable[[int], None]

_PROGRESS_EVERY = 200  # records


def _storing(write: Callable[[MoleculeSet, Path], None]) -> Callable[[MoleculeSet, Path], list[str]]:
    """The writer of a store of arrays, which uses some names itself."""

    def stored(molecules: MoleculeSet, path: Path) -> list[str]:
        names = fitting_names(molecules.properties, property_name)
        properties = {names[name]: _without_objects(values) for name, values in molecules.properties.items()}
        write(replace(molecules, properties=properties), path)
        return renaming_notes(names)

    return stored


def _without_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Python's own objects as text, '' where there is none."""
    values = np.asarray(values)
    if values.dtype.kind != "O":
        return values
    return np.array(["" if value is None else str(value) for value in values.tolist()])


_WRITERS: dict[str, Callable[[MoleculeSet, Path], list[str]]] = {
    ".npz": _storing(save_npz),
    ".parquet": _storing(write_parquet),
    ".xyz": write_xyz,
    ".sdf": write_sdf,
    ".sdf.gz": write_sdf,
}


def read_molecules(
    source: Path | str, *, exclude: Path | str | None = None, progress: Progress | None = None
) -> ReadReport:
    """Read the molecules of a file, a folder of `.xyz` files or a tar archive of them, leaving out bad ones.

    Args:
        source: `.npz`, `.parquet`, `.sdf`, `.sdf.gz`, `.xyz` (plain or GDB9), a folder, `.tar`, `.tar.gz` or
            `.tar.bz2`.
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
    with rdBase.BlockLogs():
        return reader_of(source)(source, progress or (lambda _: None))


def write_molecules(molecules: MoleculeSet, path: Path | str) -> list[str]:
    """Write molecules in the format of the extension: `.npz`, `.parquet`, `.xyz`, `.sdf` or `.sdf.gz`.

    An SDF has the perceived bonds and charges; the other formats have no bonds.

    Returns:
        A sentence for each thing that the file does not hold as it was.

    Raises:
        OutputError: another extension, or a place that cannot be written.
    """
    path = Path(path)
    check_output(path)
    try:
        return _WRITERS[extension_of(path, _WRITERS)](molecules, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error


def encode_molecules(molecules: MoleculeSet, extension: str) -> bytes:
    """The file that `write_molecules` would write, as bytes; equal molecules give equal bytes.

    Raises:
        OutputError: an unknown extension.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"molecules{extension}")
        write_molecules(molecules, path)
        return path.read_bytes()


def check_output(path: Path | str) -> None:
    """Raise, before any long work, the OutputError that writing molecules to `path` would end in."""
    path = Path(path)
    if not extension_of(path, _WRITERS):
        raise OutputError(f"cannot write {path}: the name must end in one of {', '.join(_WRITERS)}.")
    check_writable(path)


def _read_npz(path: Path, progress: Progress) -> Named:
    molecules = load_npz(path)
    progress(len(molecules))
    return Named([f"{path.name}, molecule {i}" for i in range(1, len(molecules) + 1)], molecules)


def _read_parquet(path: Path, progress: Progress) -> Named:
    found = load_parquet(path)
    progress(len(found.names) + len(found.skipped))
    return found


def _read_sdf(path: Path, progress: Progress) -> Named:
    return assemble(_counted(read_sdf(path), progress))


def _read_xyz(path: Path, progress: Progress) -> Named:
    return assemble(_counted(parse_xyz(path.name, read_text(path)), progress))


def _read_folder(path: Path, progress: Progress) -> Named:
    return assemble(_counted(_parse_all(folder_texts(path, ".xyz")), progress))


def _read_archive(path: Path, progress: Progress) -> Named:
    outcomes = list(_counted(_parse_all(archive_texts(path, ".xyz")), progress))
    return assemble(sorted(outcomes, key=lambda outcome: natural_key(outcome[0])))


MOLECULE_FILES: dict[str, Callable[[Path, Progress], Named]] = {
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".sdf": _read_sdf,
    ".sdf.gz": _read_sdf,
    ".xyz": _read_xyz,
    ".tar": _read_archive,
    ".tar.gz": _read_archive,
    ".tar.bz2": _read_archive,
}


def reader_of(source: Path) -> Callable[[Path, Progress], Named]:
    """What reads a source whole (DataError if nothing does)."""
    if not source.exists():
        raise DataError(f"data file {source} does not exist.")
    if source.is_dir():
        return _read_folder
    extension = extension_of(source, MOLECULE_FILES)
    if not extension:
        raise DataError(
            f"{source} is of an unknown kind; accepted are {', '.join(MOLECULE_FILES)} and a folder of .xyz files."
        )
    if source.stat().st_size == 0:
        raise DataError(f"{source} is empty.")
    return MOLECULE_FILES[extension]


def extension_of(path: Path, known: Iterable[str]) -> str:
    """The known extension that the name ends in, or ''."""
    return next((ending for ending in known if path.name.lower().endswith(ending)), "")


def _parse_all(texts: Iterable[tuple[str, str]]) -> Iterator[Outcome]:
    for name, text in texts:
        yield from parse_xyz(name, text)


def _counted(outcomes: Iterable[Outcome], progress: Progress) -> Iterator[Outcome]:
    count = 0
    for count, outcome in enumerate(outcomes, start=1):
        if count % _PROGRESS_EVERY == 0:
            progress(count)
        yield outcome
    progress(count)


def _nothing_usable(source: Path, report: ReadReport) -> str:
    if not report.skipped:
        kind = "no .xyz file with a molecule" if source.is_dir() or ".tar" in source.name else "no molecule"
        return f"{source} holds {kind}."
    name, reason = report.skipped[0]
    return f"{source} holds no usable molecule, all {len(report.skipped)} are bad; the first is {name}: {reason}"


def _without(report: ReadReport, numbers: set[int], source: Path) -> ReadReport:
    index = report.molecules.properties.get("index")
    if index is None:
        raise DataError(f"{source} has no GDB9 numbers (property 'index'), so the exclusion list cannot be used.")
    keep = ~np.isin(index, list(numbers))
    if not keep.any():
        raise DataError(f"the exclusion list takes out all {len(keep)} molecules of {source}.")
    names = [report.names[place] for place in np.flatnonzero(keep)]
    return ReadReport(report.molecules.select(keep), report.skipped, int((~keep).sum()), names)
