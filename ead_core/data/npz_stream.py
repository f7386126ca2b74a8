"""`.npz` files of molecules read a few at a time, in the canonical layout and in those of other programs.

An `.npz` file is a zip archive of arrays, each a stream. Legend: M molecules, N atoms of the largest.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ead_core.common.containers import StoredArray, open_arrays
from ead_core.data.records import Named, Skipped
from ead_core.data.store import ABOUT, CORE_ARRAYS, MoleculeSet
from ead_core.data.tables import listed, table_properties, whole_or_zero
from ead_core.errors import DataError
from ead_core.notes import note

_NUMBERS = ("atomic_numbers", "nuclear_charges", "numbers", "z", "Z")  # the first that is there counts
_POSITIONS = ("positions", "coordinates", "coords", "pos", "R")
_SIZES = ("num_atoms", "n_atoms", "natoms")

Arrays = dict[str, StoredArray]


class _Atoms(NamedTuple):
    """Of some molecules: [m] sizes, [Σn] atomic numbers, [Σn, 3] positions, and [m] what is wrong with each, or ''."""

    sizes: NDArray[np.int64]
    charges: NDArray[Any]
    positions: NDArray[Any]
    reasons: Sequence[str]


class _Layout(Protocol):
    """How molecules lie in a file: how many there are, and the next ones."""

    molecules: int

    def take(self, count: int) -> _Atoms: ...


def npz_batches(path: Path, size: int | None = None) -> Iterator[Named]:
    """The molecules of a file, `size` at a time, or all at once; their values are not checked yet.

    Besides the canonical store these are read: padded rows as of EDM (`charges` [M, N], `positions` [M, N, 3]), and
    geometries of one molecule as of MD17 (`z` [N], `R` [M, N, 3]). Only sizes are held in memory.

    Raises:
        DataError: no such file, another layout, arrays that do not fit each other, or beyond `limits`.
    """
    with open_arrays(path) as arrays:
        layout = _layout(arrays, path)
        scalars = _scalars(arrays, layout, path)
        step = size or max(layout.molecules, 1)
        for first in range(0, layout.molecules, step):
            count = min(step, layout.molecules - first)
            columns = {name: array.rows(count) for name, array in scalars.items()}
            yield _named(f"{path.name}, molecule ", first, layout.take(count), columns)


def _named(title: str, first: int, atoms: _Atoms, columns: dict[str, NDArray[Any]]) -> Named:
    good = np.array([not reason for reason in atoms.reasons], dtype=bool)
    names = [f"{title}{number}" for number in range(first + 1, first + len(good) + 1)]
    skipped = [Skipped(name, reason) for name, reason in zip(names, atoms.reasons, strict=True) if reason]
    properties, misfits = table_properties({name: values[good] for name, values in columns.items()})
    own = np.repeat(good, atoms.sizes)
    with np.errstate(over="ignore"):  # a coordinate beyond float32 becomes inf, which the reader reports
        positions = atoms.positions[own].astype(np.float32)
    molecules = MoleculeSet(atoms.sizes[good], whole_or_zero(atoms.charges[own]), positions, properties)
    return Named([names[row] for row in np.flatnonzero(good)], molecules, skipped, misfits)


def _layout(arrays: Arrays, path: Path) -> _Layout:
    """How the molecules of a file lie in it; the arrays that hold them are taken out of `arrays`."""
    arrays.pop(ABOUT, None)
    if set(CORE_ARRAYS) <= arrays.keys() and len(arrays["positions"].shape) != 3:
        return _Ragged(arrays.pop("num_atoms"), arrays.pop("charges"), arrays.pop("positions"), path)
    positions = _first(arrays, _POSITIONS, lambda shape: len(shape) == 3 and shape[2] == 3)
    if not positions:
        raise DataError(_no_layout(arrays, path))
    molecules, largest, _ = arrays[positions].shape
    rows = ((molecules, largest), (molecules, largest, 1))
    charges = _first(arrays, _NUMBERS, lambda shape: shape in (*rows, (largest,)))
    charges = charges or _first(arrays, ("charges",), lambda shape: shape in rows)
    if not charges:
        raise DataError(_no_layout(arrays, path))
    num_atoms = _first(arrays, _SIZES, lambda shape: shape == (molecules,))
    return _Rows(arrays.pop(positions), arrays.pop(charges), arrays.pop(num_atoms, None))


def _first(arrays: Arrays, names: Sequence[str], fits: Callable[[tuple[int, ...]], bool]) -> str:
    """The first name of an array whose shape fits, '' if there is none."""
    return next((name for name in names if name in arrays and fits(arrays[name].shape)), "")


def _no_layout(arrays: Arrays, path: Path) -> str:
    for name in _POSITIONS:
        shape = arrays[name].shape if name in arrays else ()
        if len(shape) == 3 and shape[1] == 3 != shape[2]:
            return f"array '{name}' of {path} must be [molecules, atoms, 3], not {list(shape)}."
    missing = [name for name in CORE_ARRAYS if name not in arrays]
    shapes = listed([f"{name} {list(array.shape)}" for name, array in arrays.items()])
    if missing:
        return f"{path} lacks the array(s) {', '.join(missing)} of the molecule store; it has {shapes or 'none'}."
    return f"{path} has num_atoms, charges and positions that do not fit each other: {shapes}."


class _Ragged:
    """The canonical store: `num_atoms` [M], `charges` [ΣN], `positions` [ΣN, 3]."""

    def __init__(self, num_atoms: StoredArray, charges: StoredArray, positions: StoredArray, path: Path) -> None:
        sizes = num_atoms.whole()
        self._sizes, self._charges, self._positions = whole_or_zero(sizes), charges, positions
        self.molecules, self._done = len(self._sizes) if sizes.ndim == 1 else 0, 0
        if sizes.ndim != 1 or (self._sizes < 1).any():
            raise DataError(f"{path}: num_atoms must be a flat list of sizes of at least 1.")
        total = int(self._sizes.sum())
        if charges.shape != (total,) or positions.shape != (total, 3):
            raise DataError(
                f"{path}: num_atoms adds up to {total} atoms, but charges has shape {charges.shape} "
                f"and positions {positions.shape}."
            )

    def take(self, count: int) -> _Atoms:
        """Read the next molecules."""
        sizes = self._sizes[self._done : self._done + count]
        self._done += count
        atoms = int(sizes.sum())
        return _Atoms(sizes, self._charges.rows(atoms), self._positions.rows(atoms), [""] * count)


class _Rows:
    """A row per molecule: `positions` [M, N, 3]; atomic numbers [M, N], 0 where there is no atom, or [N] for all."""

    def __init__(self, positions: StoredArray, charges: StoredArray, num_atoms: StoredArray | None) -> None:
        self.molecules, self._largest = positions.shape[:2]
        self._positions, self._charges, self._sizes = positions, charges, num_atoms
        self._shared = charges.whole() if len(charges.shape) == 1 else None

    def take(self, count: int) -> _Atoms:
        """Read the next molecules."""
        shape = (count, self._largest)
        charges = self._charges.rows(count).reshape(shape) if self._shared is None else self._shared
        charges = np.broadcast_to(charges, shape)
        there = charges != 0
        sizes = there.sum(axis=1)
        stated = whole_or_zero(self._sizes.rows(count)) if self._sizes else sizes
        return _Atoms(sizes, charges[there], self._positions.rows(count)[there], list(map(_reason, sizes, stated)))


def _reason(size: int, stated: int) -> str:
    if size != stated:
        return f"it should have {stated} atoms, but {size} have an atomic number."
    return "" if size else "it has no atoms."


def _scalars(arrays: Arrays, layout: _Layout, path: Path) -> Arrays:
    """The arrays with a value per molecule; of a canonical store all must be."""
    scalars = {name: array for name, array in arrays.items() if array.shape[:1] == (layout.molecules,)}
    others = [name for name in arrays if name not in scalars]
    wrong = [name for name in others if arrays[name].shape]
    if wrong and isinstance(layout, _Ragged):
        number = layout.molecules
        raise DataError(
            f"{path}: property '{listed(wrong[:1])}' must have one value for each of the {number} molecules."
        )
    if others:
        note(f"of {path}, what is not per molecule is left out: {listed(others)}.")
    return scalars
