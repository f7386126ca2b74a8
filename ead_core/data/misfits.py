"""Values that did not fit into their column, as they are counted and reported."""

from collections.abc import Sequence
from dataclasses import dataclass

NO_NUMBER = "not readable as a number, left unknown"
KEPT_AS_TEXT = "not readable as a number, so the column is kept as text"
NO_SCALAR = "not a single value, left out"
TOO_LONG = "too long, left unknown"


@dataclass(frozen=True)
class Misfit:
    """Values that a column could not take as they are.

    Attributes:
        column: its name.
        reason: what is wrong with them and what became of them, to stand behind `3 values`.
        count: how many there are.
        example: one of them.
    """

    column: str
    reason: str
    count: int
    example: str

    @property
    def sentence(self) -> str:
        """What did not fit, as one sentence for the user."""
        values = "value" if self.count == 1 else "values"
        return f"property '{self.column}': {self.count:,} {values} {self.reason} (e.g. {self.example})."


def misfit(name: str, reason: str, cells: Sequence[object]) -> tuple[Misfit, ...]:
    """Count the cells that a column could not take; an empty tuple if there are none."""
    return (Misfit(name, reason, len(cells), _shown(cells[0])),) if cells else ()


def _shown(cell: object) -> str:
    text = " ".join(str(cell)[:200].split())
    return f"'{text[:40]}…'" if len(text) > 40 else f"'{text}'"
