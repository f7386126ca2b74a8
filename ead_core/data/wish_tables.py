"""A table of wishes: what each row asks of its molecules, how many of them it asks for, and what it is called.

A row is one wish per molecule that it asks for. Wishes are numbered from 0 through all rows, so that those of a row
come one after the other.

Legend: R rows, M molecules.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets

KEY = "key"  # column of a table, and property of the molecules that answer its rows


@dataclass(frozen=True)
class WishTable:
    """Rows of wishes.

    Attributes:
        targets: what each of the R rows asks of a molecule.
        counts: [R] molecules that each row asks for; empty if each asks for one.
        keys: [R] what the rows are called, different for each; empty if they have no names.
    """

    targets: Targets
    counts: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Wishes of all rows."""
        return int(self._ends[-1])

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """[R] wishes of each row and all before it."""
        return np.cumsum(self.counts or np.ones(len(self.targets.rows)), dtype=np.int64)

    def asked(self, row: int) -> int:
        """Molecules that a row asks for."""
        return self.counts[row] if self.counts else 1

    def rows_of(self, wishes: Sequence[int] | NDArray[np.int64] | range) -> NDArray[np.int64]:
        """The row of each wish; numbers beyond the last wish begin again with the first."""
        return np.searchsorted(self._ends, np.asarray(wishes, dtype=np.int64) % self.total, side="right")

    def wishes(self, numbers: range) -> Targets:
        """What some wishes ask for, a row for each."""
        return self.targets.select(self.rows_of(numbers))

    def cycled(self, first: int, num: int) -> Targets:
        """What `num` molecules from id `first` on ask for, as rows that are cycled by id."""
        if not self.counts:
            return self.targets
        ids = np.arange(first, first + num)
        return self.targets.select(self.rows_of(ids[np.argsort(ids % num)]))

    def named(self, molecules: MoleculeSet, rows: NDArray[np.int64]) -> MoleculeSet:
        """Molecules that carry the keys of their rows [M], if these have any."""
        if not self.keys:
            return molecules
        return replace(molecules, properties={**molecules.properties, KEY: self.keys_of(rows)})

    def keys_of(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        """The keys of rows."""
        return np.array(self.keys, dtype=str)[rows]

    @property
    def digest(self) -> str:
        """What tells it from others beside its targets, as SHA-256; '' if each row asks for one and has no name."""
        content = json.dumps([self.counts, self.keys])
        return hashlib.sha256(content.encode()).hexdigest() if self.counts or self.keys else ""
