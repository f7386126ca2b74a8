"""How sizes and properties go together in the training data: what a request leaves open is drawn from here.

A table of training molecules, of which those near to what is asked for are found. Everything is in border units.

Legend: R rows of the table, P properties.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from ead_core.common.documents import Document, Packed
from ead_core.common.sealed import read_sealed, write_sealed
from ead_core.data.labels import Labels
from ead_core.data.store import MoleculeSet
from ead_core.errors import CheckpointError, DamagedFileError, DataError, one_line

MOST_ROWS = 20_000
NEAREST, SHARE = 64, 20  # candidates: 64, but no more than a twentieth of the rows in question


class PriorHeader(Document):
    """What the header of a stored table says: the names of its properties."""

    kind: ClassVar[str] = "a table of training molecules"

    version: Literal["ead-prior-1"] = Field(alias="format")
    names: Annotated[tuple[str, ...], Packed]


@dataclass(frozen=True)
class Wish:
    """What one molecule shall have: intervals that hold their ends; NaN is open, and equal ends are a value.

    Attributes:
        low, high: [P] in border units.
        whole: [P] properties that are whole numbers, so met exactly or not at all.
        smallest, largest: number of atoms.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: NDArray[np.bool_]
    smallest: float = -np.inf
    largest: float = np.inf


@dataclass(frozen=True)
class JointPrior:
    """Training molecules as rows.

    Attributes:
        names: of the P properties.
        sizes: [R] atoms.
        values: [R, P], NaN where unknown.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def of_training(cls, molecules: MoleculeSet, labels: Labels, seed: int) -> "JointPrior":
        """At most 20,000 molecules: up to half of them such with all labels, which may be few, the others at random."""
        values = np.stack(list(labels.values()), axis=1).astype(np.float32)
        generator = np.random.default_rng(seed)
        complete = generator.permutation(np.flatnonzero(~np.isnan(values).any(axis=1)))[: MOST_ROWS // 2]
        others = generator.permutation(np.setdiff1d(np.arange(len(molecules)), complete))
        rows = np.concatenate([complete, others])[:MOST_ROWS]
        return cls(tuple(labels), molecules.num_atoms[rows].astype(np.int32), values[rows])

    def candidates(self, wish: Wish, scales: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows, in ascending order, that are as asked for or come nearest, every one as good as the others.

        1. Rows that lack more of the properties asked for than others are left out.
        2. Intervals, whole numbers and the number of atoms are met exactly if any row does.
        3. Of what is left, the 64 rows nearest in the values asked for are taken (fewer of a small table), with all
           that are as near as the last of them. The distance is Euclidean in units of `scales`; if no row met
           point 2, what it asks for counts, too.

        Args:
            wish: at least one property or a number of atoms.
            scales: [P] mean absolute deviations.
        """
        asked = ~np.isnan(wish.low)
        values = self.values[:, asked].astype(np.float64)
        low, high, whole = wish.low[asked], wish.high[asked], wish.whole[asked]
        unknown = np.isnan(values).sum(axis=1)
        rows = np.flatnonzero(unknown == unknown.min())
        away = np.nan_to_num(_outside(values[rows], low, high) / scales[asked])
        atoms = _outside(self.sizes[rows].astype(np.float64), wish.smallest, wish.largest) / self._size_scale
        exact = np.column_stack([away[:, whole | (high > low)], atoms])
        met = ~exact.any(axis=1)
        if met.any():
            rows, away, exact = rows[met], away[met], exact[met]
        distance = (away[:, ~whole & (high == low)] ** 2).sum(axis=1) + (exact**2).sum(axis=1)
        count = min(NEAREST, max(1, len(rows) // SHARE))
        return rows[distance <= np.partition(distance, count - 1)[count - 1]]

    @cached_property
    def _size_scale(self) -> float:
        """Mean absolute deviation of the sizes, at least one atom."""
        return max(1.0, float(np.abs(self.sizes - self.sizes.mean()).mean()))

    def digest(self) -> str:
        """SHA-256 of the content."""
        digest = hashlib.sha256(json.dumps(self.names).encode())
        for array in (self.sizes, self.values):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write a safetensors file with a checksum (OutputError if the place cannot be written)."""
        header = PriorHeader(version="ead-prior-1", names=self.names)
        arrays = {"sizes": self.sizes, "values": self.values}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        write_sealed(path, tensors, header.to_texts())

    @classmethod
    def load(cls, path: Path) -> "JointPrior":
        """Read what `save` wrote.

        Raises:
            CheckpointError: missing, corrupt, or of another version.
        """
        try:
            tensors, metadata = read_sealed(path)
            header = PriorHeader.parse(metadata, path.name)
            prior = cls(header.names, tensors["sizes"].numpy(), tensors["values"].numpy())
        except DataError as error:
            raise CheckpointError(str(error)) from error
        except (OSError, KeyError, DamagedFileError) as error:
            raise CheckpointError(f"{path.name} cannot be read ({one_line(error)}).") from error
        if prior.values.shape != (len(prior.sizes), len(prior.names)):
            raise CheckpointError(f"{path.name} is damaged: its rows and columns do not fit its names.")
        if not len(prior.sizes):
            raise CheckpointError(f"{path.name} has no rows.")
        return prior


def _outside(values: NDArray[np.float64], low: object, high: object) -> NDArray[np.float64]:
    """By how much values lie below or above an interval; 0 inside."""
    return np.maximum(0.0, np.maximum(low - values, values - high))  # type: ignore[operator]
