"""What is asked of molecules: for each property a value, or a range from which the value is drawn; in border units."""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.data.properties import counted_element
from ead_core.errors import ConfigError

Bounds = tuple[float, float]  # low and high end, equal for a value; NaN is open
OPEN: Bounds = (math.nan, math.nan)
LARGEST = 1e12  # beyond any property, and far below what float32 holds


class TargetError(ConfigError):
    """A target that cannot be met.

    Attributes:
        property: whose it is, '' if it is about several.
        row: of a table, from 0, which it is about; None if it is about all.
    """

    def __init__(self, sentence: str, name: str = "", row: int | None = None) -> None:
        super().__init__(sentence)
        self.property, self.row = name, row


@dataclass(frozen=True)
class Targets:
    """Rows of targets; the molecule with id i gets row i mod R.

    Attributes:
        names: the P properties asked for.
        rows: `[R][P]` bounds.
        sizes: [R] atoms per molecule, None where open; empty if all are.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Bounds, ...], ...]
    sizes: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, targets: Mapping[str, float | Sequence[float]]) -> "Targets":
        """Targets that all molecules share: a number, or a low and a high end, by property.

        Raises:
            TargetError: a value that is neither, or a range from high to low.
        """
        return cls(tuple(targets), (tuple(bounds(name, target) for name, target in targets.items()),))

    @classmethod
    def of_columns(cls, columns: Mapping[str, Sequence[object]]) -> "Targets":
        """A row per wish, from columns of numbers, of (low, high), and of None or NaN where a row is open.

        Raises:
            TargetError: a value that is none of these, a range from high to low, no row, or columns of unequal length.
        """
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise TargetError("a table of targets needs at least one column and one row, and columns of equal length.")
        ends = [[OPEN if _is_open(each) else bounds(name, each) for each in column] for name, column in columns.items()]
        return cls(tuple(columns), tuple(zip(*ends, strict=True)))

    def with_same(self, other: "Targets") -> "Targets":
        """These rows, each with the one row of `other` added, whose properties are different ones."""
        return replace(self, names=self.names + other.names, rows=tuple(row + other.rows[0] for row in self.rows))

    def only(self, names: Collection[str]) -> "Targets":
        """These rows, with some of the properties alone."""
        columns = [column for column, name in enumerate(self.names) if name in names]
        rows = tuple(tuple(row[column] for column in columns) for row in self.rows)
        return replace(self, names=tuple(self.names[column] for column in columns), rows=rows)

    def each(self, times: int) -> "Targets":
        """Every row so many times in a row."""
        rows = tuple(row for row in self.rows for _ in range(times))
        return replace(self, rows=rows, sizes=tuple(size for size in self.sizes for _ in range(times)))

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> "Targets":
        """The rows at `rows`, in that order."""
        chosen = [int(row) for row in rows]
        sizes = tuple(self.sizes[row] for row in chosen) if self.sizes else ()
        return replace(self, rows=tuple(self.rows[row] for row in chosen), sizes=sizes)

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high ends [R, P]."""
        both = np.array(self.rows, dtype=np.float64).reshape(len(self.rows), len(self.names), 2)
        return both[..., 0], both[..., 1]

    @cached_property
    def fixed_sizes(self) -> NDArray[np.int64]:
        """Atoms that each row asks for by number [R]; 0 where open."""
        return np.array([size or 0 for size in self.sizes or [None] * len(self.rows)], dtype=np.int64)

    def counted(self) -> NDArray[np.bool_]:
        """Which properties [P] are numbers of atoms of an element."""
        return np.array([counted_element(name) is not None for name in self.names], dtype=bool)

    @cached_property
    def limited(self) -> NDArray[np.bool_]:
        """What a molecule meets or misses [R, P]: ranges and numbers of atoms, not values, to which it is just near."""
        low, high = self.arrays
        return np.asarray((low < high) | (self.counted() & ~np.isnan(low)))

    def most_atoms(self) -> int:
        """The largest number of atoms that a row asks for, be it by its elements; 0 if none does."""
        low, high = self.arrays
        elements = np.where(self.counted() & (low == high), low, 0).sum(axis=1)
        return int(max(*elements, *self.fixed_sizes))

    def to_json(self) -> dict[str, Any]:
        """One row as property → number or [low, high]; of several, how many there are and their SHA-256."""
        plain = [[_plain(*target) for target in row] for row in self.rows]
        if len(self.rows) == 1 and not self.sizes:
            return dict(zip(self.names, plain[0], strict=True))
        content = json.dumps([self.names, plain, self.sizes])
        return {"rows": len(self.rows), "sha256": hashlib.sha256(content.encode()).hexdigest()}


def _plain(low: float, high: float) -> float | list[float] | None:
    if low == high:
        return low
    return None if math.isnan(low) else [low, high]


def bounds(name: str, target: object) -> Bounds:
    """A number or two as bounds (TargetError if it is something else)."""
    ends: list[Any] = list(target) if isinstance(target, list | tuple) and len(target) == 2 else [target, target]
    if not all(map(_is_number, ends)):
        raise TargetError(f"target {name} must be a number or a low and a high one, not {target!r}.", name)
    low, high = map(float, ends)
    if low > high:
        raise TargetError(f"target {name} must go from a low to a high number, not from {low:g} to {high:g}.", name)
    return low, high


def _is_open(target: object) -> bool:
    return target is None or (isinstance(target, float) and math.isnan(target))


def _is_number(end: Any) -> bool:
    return isinstance(end, Real) and not isinstance(end, bool) and bool(-LARGEST < end < LARGEST)  # type: ignore[operator]


def parse_targets(items: Iterable[str]) -> Targets | None:
    """`["gap=6500", "mu=1:3"]` as targets; None if there are none.

    Raises:
        TargetError: an item of another form, a value that is no number, a range from high to low, or a property twice.
    """
    targets: dict[str, float | Sequence[float]] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise TargetError(f"target '{item}' must have the form property=value or property=low:high, e.g. gap=6500.")
        if name in targets:
            raise TargetError(f"target {name} is given twice; give it once, as a value or as low:high.", name)
        try:
            numbers = [float(part) for part in value.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2) or not all(abs(number) < LARGEST for number in numbers):
            raise TargetError(f"target {name} must be a number or low:high, not '{value}'.", name)
        targets[name] = numbers[0] if len(numbers) == 1 else numbers
    return Targets.of(targets) if targets else None
