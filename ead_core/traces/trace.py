"""A trace: every molecule after every network call, and the `.npz` file that keeps it.

Frame 0 is the noise that a molecule begins as, frame k what k network calls have made of it, and the last frame the
decoded molecule.

Legend: M molecules, N atoms of one, F its frames.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ead_core.chemistry.elements import HEAVIEST, element_symbol
from ead_core.common.containers import load_arrays
from ead_core.common.documents import Document
from ead_core.common.files import check_writable, write_aside
from ead_core.data.tensors import DUMMY
from ead_core.errors import DataError, OutputError, one_line

EXTENSION = ".npz"
_PER_ATOM = {"levels": np.int32, "velocities": np.float32, "positions": np.float32, "charges": np.uint8}
_PER_MOLECULE = ("id", "num_atoms", "num_frames")


class TraceHeader(Document):
    """What a trace says of itself: checkpoint and settings in words."""

    kind: ClassVar[str] = "a trace"

    version: Literal["ead-trace-1"] = Field(alias="format")
    title: str


@dataclass(frozen=True)
class MoleculeTrace:
    """How one molecule came about.

    Attributes:
        id: of the molecule.
        levels: [F, N] noise level of each atom, 0 = clean.
        velocities: [F, N] length of the move that was proposed on the way to the frame, in the scaled state; 0 for
            clean atoms, and in the first and the last frame, to which no move led.
        positions: [F, N, 3] noisy coordinates of the state; those of the last frame in Å.
        charges: [F, N] atomic numbers, decoded from the noisy features; `DUMMY` where a slot is empty.
    """

    id: int
    levels: NDArray[Any]
    velocities: NDArray[Any]
    positions: NDArray[Any]
    charges: NDArray[Any]

    @cached_property
    def paused(self) -> NDArray[np.bool_]:
        """[F, N] atoms that the call before the frame left at their level although they were not clean."""
        stayed = (self.levels[1:] == self.levels[:-1]) & (self.levels[1:] > 0)
        return np.concatenate([np.zeros_like(stayed[:1]), stayed])

    @cached_property
    def behind(self) -> NDArray[Any]:
        """[F, N] levels that each atom is above the lowest of its molecule."""
        return self.levels - self.levels.min(axis=1, keepdims=True)

    @cached_property
    def settled(self) -> NDArray[np.int64]:
        """[N] first frame of each atom at level 0."""
        return np.argmax(self.levels == 0, axis=0)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """[N] atoms in the order in which they settled; of those that settled together, the one ahead on the way."""
        return np.lexsort((self.levels.sum(axis=0), self.settled))

    @cached_property
    def parting(self) -> int:
        """Last frame before levels differ for the first time; 0 if they never do."""
        unequal = (self.levels != self.levels[:, :1]).any(axis=1)
        return max(int(np.argmax(unequal)) - 1, 0)

    @property
    def symbols(self) -> list[str]:
        """[N] element symbols of the finished molecule, `*` for empty slots."""
        return [element_symbol(number) for number in self.charges[-1]]

    @property
    def formula(self) -> str:
        """Formula of the finished molecule, carbon and hydrogen first."""
        numbers = self.charges[-1]
        counts = Counter(map(element_symbol, numbers[numbers != DUMMY]))
        first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
        ordered = [*first, *sorted(set(counts) - set(first))]
        return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in ordered)


@dataclass(frozen=True)
class Trace:
    """What one run left behind.

    Attributes:
        title: checkpoint and settings in words.
        molecules: in the order of their ids.
    """

    title: str
    molecules: tuple[MoleculeTrace, ...]

    def select(self, ids: Sequence[int]) -> tuple[MoleculeTrace, ...]:
        """The molecules with these ids, in this order.

        Raises:
            DataError: a molecule that was not traced.
        """
        known = {molecule.id: molecule for molecule in self.molecules}
        for number in ids:
            if number not in known:
                raise DataError(f"the trace has no molecule {number}; it holds {_spans(sorted(known))}.")
        return tuple(known[number] for number in ids)


def check_trace_file(path: Path) -> None:
    """Raise, before any long work, the OutputError that `save_trace` would end in."""
    if path.suffix.lower() != EXTENSION:
        raise OutputError(f"cannot write {path}: the name of a trace must end in {EXTENSION}.")
    check_writable(path)


def save_trace(trace: Trace, path: Path | str) -> None:
    """Write a trace: per molecule `id`, `num_atoms` and `num_frames` [M], and the frames of all, one after another.

    Raises:
        OutputError: the file cannot be written.
    """
    shapes = np.array([molecule.levels.shape for molecule in trace.molecules], dtype=np.int64).reshape(-1, 2)
    header = TraceHeader(version="ead-trace-1", title=trace.title)
    arrays: dict[str, Any] = {
        **{name: np.array(text) for name, text in header.to_texts().items()},
        "id": np.array([molecule.id for molecule in trace.molecules], dtype=np.int64),
        "num_frames": shapes[:, 0],
        "num_atoms": shapes[:, 1],
    }
    for name in _PER_ATOM:
        parts = [getattr(molecule, name) for molecule in trace.molecules]
        arrays[name] = np.concatenate([part.reshape(-1, *part.shape[2:]) for part in parts])
    try:
        # A file of our own: numpy would add its extension to a name that ends in .NPZ.
        with write_aside(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error


def load_trace(path: Path | str) -> Trace:
    """Read what `save_trace` wrote.

    Raises:
        DataError: a file that is missing, is no trace, or whose parts do not fit each other.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"trace {path} does not exist.")
    arrays = load_arrays(path, "trace")
    title = _title(arrays, path)
    needed = (*_PER_MOLECULE, *_PER_ATOM)
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(f"trace {path} lacks the array(s) {', '.join(missing)}.")
    loaded = {name: arrays[name] for name in needed}
    try:
        return Trace(title, tuple(_cut(loaded)))
    except DataError as error:
        raise DataError(f"trace {path} is damaged: {error}") from error


def _title(arrays: Mapping[str, NDArray[Any]], path: Path) -> str:
    """The title of a trace of this version (DataError for another file)."""
    header = {name: str(arrays[name]) for name in ("format", "title") if name in arrays}
    try:
        return TraceHeader.parse(header, str(path)).title
    except DataError as error:
        raise DataError(f"{one_line(error)}; `ead sample … --trace {path.name}` writes one.") from error


def _cut(arrays: Mapping[str, NDArray[Any]]) -> list[MoleculeTrace]:
    """The molecules of a file, checked."""
    ids, sizes, frames = (arrays[name] for name in _PER_MOLECULE)
    if any(
        array.ndim != 1 or array.dtype.kind not in "iu" or array.shape != ids.shape for array in (ids, sizes, frames)
    ):
        raise DataError("id, num_atoms and num_frames must be whole numbers, one each per molecule.")
    if not len(ids) or len(set(ids.tolist())) < len(ids) or sizes.min() < 1 or frames.min() < 2:
        raise DataError("it needs molecules with different ids, at least one atom and at least two frames.")
    rows = (int(size) * int(number) for size, number in zip(sizes, frames, strict=True))
    ends = list(itertools.accumulate(rows))
    for name, dtype in _PER_ATOM.items():
        array, shape = arrays[name], (ends[-1], 3) if name == "positions" else (ends[-1],)
        if array.shape != shape or array.dtype != dtype:
            raise DataError(f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}.")
    parts = {name: np.split(arrays[name], ends[:-1]) for name in _PER_ATOM}
    molecules = []
    for index, (number, size) in enumerate(zip(ids.tolist(), sizes.tolist(), strict=True)):
        own = {name: values[index].reshape(-1, size, *values[index].shape[1:]) for name, values in parts.items()}
        molecules.append(_checked(MoleculeTrace(number, **own)))
    return molecules


def _checked(molecule: MoleculeTrace) -> MoleculeTrace:
    falls = (np.diff(molecule.levels, axis=0) <= 0).all()
    if not falls or molecule.levels[-1].any():
        raise DataError(f"the levels of molecule {molecule.id} must fall to 0.")
    if molecule.charges.max() > HEAVIEST:
        raise DataError(f"the atomic numbers of molecule {molecule.id} must lie between {DUMMY} and {HEAVIEST}.")
    return molecule


def _spans(ids: Sequence[int]) -> str:
    """Sorted ids in words: `0–3, 7`."""
    starts = [i for i, number in enumerate(ids) if not i or number != ids[i - 1] + 1]
    pairs = zip(starts, [*starts[1:], len(ids)], strict=True)
    return ", ".join(str(ids[a]) if b - a == 1 else f"{ids[a]}–{ids[b - 1]}" for a, b in pairs)
