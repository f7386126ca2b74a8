"""The canonical molecule store: a ragged set of molecules in memory and its `.npz` file.

`num_atoms` [M], `charges` [ΣN] atomic numbers, `positions` [ΣN, 3] in Å, and any per-molecule array [M].
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.molecule import Molecule
from ead_core.common.containers import load_arrays
from ead_core.common.files import write_aside
from ead_core.data.columns import are_integers, join_columns
from ead_core.errors import DataError
from ead_core.notes import note

CORE_ARRAYS = ("num_atoms", "charges", "positions")
ABOUT = "_about"  # an array that is one text: what the file says of its molecules together, as JSON


@dataclass(frozen=True, repr=False)
class MoleculeSet:
    """M molecules without padding.

    `molecules[3]` is a `Molecule`, `molecules[10:20]` and `molecules[mask]` are sets; a loop yields every `Molecule`.

    Attributes:
        num_atoms: [M] atoms per molecule, each ≥ 1.
        charges: [ΣN] atomic numbers.
        positions: [ΣN, 3] in Å.
        properties: arrays [M] of anything known per molecule (NaN or '' where unknown).
    """

    num_atoms: NDArray[Any]
    charges: NDArray[Any]
    positions: NDArray[Any]
    properties: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_atoms", _whole("num_atoms", self.num_atoms))
        object.__setattr__(self, "charges", _whole("charges", self.charges))
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=np.float32))
        total = int(self.num_atoms.sum())
        if self.num_atoms.ndim != 1 or (self.num_atoms < 1).any():
            raise DataError("num_atoms must be a flat list of sizes of at least 1.")
        if self.charges.shape != (total,) or self.positions.shape != (total, 3):
            raise DataError(
                f"num_atoms adds up to {total} atoms, but charges has shape {self.charges.shape} "
                f"and positions {self.positions.shape}."
            )
        for name, values in self.properties.items():
            if np.shape(values)[:1] != (len(self.num_atoms),):
                raise DataError(f"property '{name}' must have one value for each of the {len(self)} molecules.")

    def __len__(self) -> int:
        return len(self.num_atoms)

    def __repr__(self) -> str:
        names = ", ".join(self.properties) or "none"
        return f"MoleculeSet({len(self):,} molecules, {len(self.charges):,} atoms, properties: {names})"

    def __iter__(self) -> Iterator[Molecule]:
        return (self._at(index) for index in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> Molecule: ...

    @overload
    def __getitem__(self, chosen: slice | NDArray[Any] | Sequence[int] | Sequence[bool]) -> "MoleculeSet": ...

    def __getitem__(self, chosen: Any) -> "Molecule | MoleculeSet":
        if isinstance(chosen, slice):
            return self.select(range(len(self))[chosen])
        return self._at(range(len(self))[chosen]) if np.ndim(chosen) == 0 else self.select(chosen)

    def _at(self, index: int) -> Molecule:
        charges, positions = self.molecule(index)
        values = {name: np.asarray(column)[index] for name, column in self.properties.items()}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        whole = {name: int(plain[name]) for name in self._integers if np.isfinite(plain[name])}
        return Molecule(charges, positions, {**plain, **whole})

    @cached_property
    def _integers(self) -> tuple[str, ...]:
        """Names of the properties whose values are integers, though some are unknown."""
        arrays = {name: np.asarray(values) for name, values in self.properties.items()}
        return tuple(name for name, values in arrays.items() if values.ndim == 1 and are_integers(values))

    def _repr_html_(self) -> str:
        """A table of the first molecules, which notebooks show."""
        from ead_core.data.notebook import html_table

        return html_table(self)

    @cached_property
    def offsets(self) -> NDArray[Any]:
        """[M + 1] index of each molecule's first atom, and the total."""
        return np.concatenate([[0], np.cumsum(self.num_atoms)])

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which molecules [M] have no coordinate that is infinite or no number."""
        if not len(self):
            return np.zeros(0, dtype=bool)
        return np.asarray(np.logical_and.reduceat(np.isfinite(self.positions).all(axis=1), self.offsets[:-1]))

    def molecule(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Atomic numbers [N] and positions [N, 3] of one molecule."""
        start = int(self.offsets[:-1][index])
        stop = start + int(self.num_atoms[index])
        return self.charges[start:stop], self.positions[start:stop]

    def select(self, indices: NDArray[Any] | Sequence[int]) -> "MoleculeSet":
        """The molecules at `indices` (or where a boolean mask is True), in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)] if len(indices) else np.zeros(0, dtype=np.int64)
        sizes = self.num_atoms[chosen]
        starts = np.repeat(self.offsets[chosen], sizes)
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        atoms = starts + within
        properties = {name: np.asarray(values)[chosen] for name, values in self.properties.items()}
        return MoleculeSet(sizes, self.charges[atoms], self.positions[atoms], properties)

    @classmethod
    def concatenate(cls, sets: Sequence["MoleculeSet"]) -> "MoleculeSet":
        """Several sets, at least one, as one; a property that a set lacks is unknown there (see `join_columns`)."""
        sizes = [len(part) for part in sets]
        properties: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys(name for part in sets for name in part.properties):
            column = join_columns(name, [_array_or_none(part.properties.get(name)) for part in sets], sizes)
            for misfit in column.misfits:
                note(misfit.sentence)
            if column.values is not None:
                properties[name] = column.values
        return cls(
            np.concatenate([part.num_atoms for part in sets]),
            np.concatenate([part.charges for part in sets]),
            np.concatenate([part.positions for part in sets]),
            properties,
        )

    @classmethod
    def from_lists(
        cls,
        charges: Sequence[NDArray[Any]],
        positions: Sequence[NDArray[Any]],
        properties: Mapping[str, Any] | None = None,
    ) -> "MoleculeSet":
        """Join per-molecule arrays into one set."""
        if not charges:
            return cls(np.zeros(0), np.zeros(0), np.zeros((0, 3)), properties or {})
        sizes = np.array([len(c) for c in charges])
        return cls(sizes, np.concatenate(charges), np.concatenate(positions), properties or {})


def _array_or_none(values: Any) -> NDArray[Any] | None:
    return None if values is None else np.asarray(values)


def _whole(name: str, values: Any) -> NDArray[np.int64]:
    """Numbers of any type as integers (DataError if that would change one)."""
    given = np.asarray(values)
    if given.dtype.kind == "f" and not ((given == np.floor(given)) & (np.abs(given) < 2**62)).all():
        raise DataError(f"{name} must be whole numbers.")
    return np.asarray(given, dtype=np.int64)


def save_npz(molecules: MoleculeSet, path: Path | str, about: Mapping[str, str] | None = None) -> None:
    """Write the canonical store; the file appears under its name only when complete.

    Args:
        molecules: M molecules.
        path: of the file.
        about: what else it shall say, by name (see `npz_about`).

    Raises:
        DataError: a property whose name numpy reserves.
        OutputError: the file cannot be written.
    """
    reserved = {"file", "allow_pickle"} & set(molecules.properties)
    if reserved:
        raise DataError(f"a property cannot be called '{reserved.pop()}' in an .npz file.")
    largest = int(molecules.num_atoms.max(initial=0))
    arrays: dict[str, Any] = {
        "num_atoms": molecules.num_atoms.astype(np.int16 if largest < 2**15 else np.int32),
        "charges": molecules.charges.astype(np.uint8),
        "positions": molecules.positions,
        **{name: np.asarray(values) for name, values in molecules.properties.items()},
        **({ABOUT: np.array(json.dumps(dict(about)))} if about else {}),
    }
    with write_aside(path) as aside, aside.open("wb") as file:  # given a name, numpy would append another ending to it
        np.savez_compressed(file, **arrays)


def load_npz(path: Path | str) -> MoleculeSet:
    """Read a canonical store as written; contents are not checked for NaN here (see `formats`).

    Raises:
        DataError: missing file, not an npz, missing arrays, or arrays that do not fit each other.
    """
    loaded = load_arrays(path := Path(path))
    loaded.pop(ABOUT, None)
    missing = [name for name in CORE_ARRAYS if name not in loaded]
    if missing:
        raise DataError(f"{path} lacks the array(s) {', '.join(missing)} of the molecule store.")
    core = {name: loaded.pop(name) for name in CORE_ARRAYS}
    try:
        return MoleculeSet(**core, properties=loaded)
    except (DataError, ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error


def npz_about(path: Path | str) -> dict[str, str]:
    """What a file says of its molecules together, by name; nothing if nobody wrote anything (DataError: no npz)."""
    found = load_arrays(Path(path)).get(ABOUT)
    return {} if found is None else dict(json.loads(str(found)))
