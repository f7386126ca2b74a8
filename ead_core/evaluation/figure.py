"""One number of a card, with what it rests on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ead_core.common.intervals import Interval, distinct_interval, mean_interval, median_interval, wilson

if TYPE_CHECKING:
    from ead_core.evaluation.columns import Columns


@dataclass(frozen=True)
class Figure:
    """One number of a card.

    Attributes:
        title: for people.
        value: a share of 1 where `unit` is "%".
        interval: 95 %; None where none is known.
        of: the denominator, or how many should have a value.
        known: how many of them have one.
        unit: "%", a physical unit, or "".
    """

    title: str
    value: float
    interval: Interval | None
    of: int
    known: int
    unit: str = "%"

    def percent(self) -> str:
        """A share in percent to one decimal, with its interval if it has one."""
        text = f"{100 * self.value:.1f}"
        return f"{text} ({'–'.join(f'{100 * end:.1f}' for end in self.interval)})" if self.interval else text

    def shown(self) -> str:
        """The value in its unit, with the interval."""
        text = _number(self.value, self.unit)
        if self.interval:
            low, high = (_number(end, self.unit) for end in self.interval)
            text += f" ({low}{' to ' if self.interval[0] < 0 else '–'}{high})"
        return f"{text} {self.unit}".rstrip()


Section = dict[str, Figure]


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.2f}" if unit == "%" else f"{value:.4g}"


def share(title: str, hits: int, of: int) -> Figure:
    """Of `of` attempts, with Wilson's interval."""
    return Figure(title, hits / max(of, 1), wilson(hits, of), of, of)


def distinct(title: str, labels: Sequence[str | None]) -> Figure:
    """Share of distinct labels, None being never distinct."""
    found = len(set(labels) - {None})
    interval = distinct_interval(labels) if labels else (0.0, 1.0)
    return Figure(title, found / max(len(labels), 1), interval, len(labels), len(labels))


def medians(columns: "Columns", wanted: Mapping[str, tuple[str, str]], of: int) -> Section:
    """The median of each column with a known value.

    Args:
        columns: of the table.
        wanted: title and unit by name of the column.
        of: how many molecules should have a value.
    """
    return _summaries(columns, wanted, of, np.median, median_interval)


def means(columns: "Columns", wanted: Mapping[str, tuple[str, str]], of: int) -> Section:
    """The mean of each column with a known value; arguments as of `medians`."""
    return _summaries(columns, wanted, of, np.mean, mean_interval)


def _summaries(
    columns: "Columns",
    wanted: Mapping[str, tuple[str, str]],
    of: int,
    statistic: Callable[[NDArray[Any]], Any],
    interval: Callable[[NDArray[Any]], Interval],
) -> Section:
    section: Section = {}
    for name, (title, unit) in wanted.items():
        values = columns.numbers(name)
        known = values[np.isfinite(values)]
        if len(known):
            section[name] = Figure(title, float(statistic(known)), interval(known), of, len(known), unit)
    return section
