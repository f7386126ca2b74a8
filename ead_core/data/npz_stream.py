"""The canonical store read a few molecules at a time: an `.npz` file is a zip archive of arrays, each a stream."""

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.data.store import CORE_ARRAYS, MoleculeSet, load_npz, readable_npz

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class _Array:
    """An array of an archive, from its first row on."""

    def __init__(self, archive: zipfile.ZipFile, member: str) -> None:
        self._file = archive.open(member)
        self.shape, by_columns, self.dtype = _HEADERS[np.lib.format.read_magic(self._file)](self._file)
        self.in_rows = not (by_columns and len(self.shape) > 1) and not self.dtype.hasobject

    def rows(self, count: int) -> NDArray[Any]:
        """The next rows (ValueError if the file ends before)."""
        shape = (count, *self.shape[1:])
        content = self._file.read(int(np.prod(shape)) * self.dtype.itemsize)
        return np.frombuffer(content, self.dtype).reshape(shape) if count else np.zeros(shape, self.dtype)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def npz_batches(path: Path, size: int) -> Iterator[MoleculeSet]:
    """The molecules of a canonical store, `size` at a time; errors are those of `load_npz`.

    Of the arrays only `num_atoms` is held in memory. A store of an unusual form is read whole, which also says what is
    wrong with it.
    """
    with readable_npz(path), contextlib.ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        arrays = _arrays(archive, stack)
        num_atoms = _sizes(arrays)
        if num_atoms is None:
            whole = load_npz(path)
            for start in range(0, len(whole), size):
                yield whole.select(range(start, min(start + size, len(whole))))
            return
        charges, positions = arrays.pop("charges"), arrays.pop("positions")
        for start in range(0, len(num_atoms), size):
            sizes = num_atoms[start : start + size]
            atoms = int(sizes.sum())
            properties = {name: array.rows(len(sizes)) for name, array in arrays.items()}
            yield MoleculeSet(sizes, charges.rows(atoms), positions.rows(atoms), properties)


def _arrays(archive: zipfile.ZipFile, stack: contextlib.ExitStack) -> dict[str, _Array]:
    """By name; none if one is no array, or has a newer header than those known here."""
    found = {}
    for member in archive.namelist():
        try:
            found[member.removesuffix(".npy")] = array = _Array(archive, member)
        except (KeyError, ValueError):
            return {}
        stack.callback(array.close)
    return found


def _sizes(arrays: dict[str, _Array]) -> NDArray[np.int64] | None:
    """Atoms per molecule, taken out of `arrays` if the others fit to them, else None."""
    if not set(CORE_ARRAYS) <= arrays.keys() or not all(array.in_rows for array in arrays.values()):
        return None
    first = arrays.pop("num_atoms")
    if len(first.shape) != 1:
        return None
    sizes = first.rows(first.shape[0]).astype(np.int64)
    return sizes if (sizes >= 1).all() and _fit(arrays, len(sizes), int(sizes.sum())) else None


def _fit(arrays: Mapping[str, _Array], molecules: int, atoms: int) -> bool:
    wanted = {"charges": (atoms,), "positions": (atoms, 3)}
    return all(
        array.shape == wanted[name] if name in wanted else array.shape[:1] == (molecules,)
        for name, array in arrays.items()
    )
