"""What a part of the evaluation card brings: columns of the table, rows of the card, and how costly it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from rdkit import Chem

from ead_core.evaluation.figure import Section
from ead_core.evaluation.tally import Tally

if TYPE_CHECKING:
    from ead_core.evaluation.columns import Columns, Progress


class Cost(Enum):
    """On which molecules a part is measured."""

    CHEAP = "every molecule"
    SAMPLED = "a sample"
    WHOLE = "the finished table"


@dataclass(frozen=True)
class Evidence:
    """What a part's rows of the card are made from: the table, the tally of the same molecules, and real ones."""

    columns: "Columns"
    tally: Tally
    reference: Tally | None


def _nothing(*_: Any) -> None:
    """The default of what most parts have no need of."""


@dataclass(frozen=True)
class Part:
    """A measure of the evaluation card; `parts.PARTS` lists them all.

    Attributes:
        name: as in `ead evaluate --parts`.
        section: of the card (a key of `card.TITLES`) that its rows belong to.
        cost: on which molecules it is measured.
        summarise: its rows of the card.
        columns: of the table, with their types; unknown values are left out of a molecule's row.
        measure: the columns of one molecule, perceived and with all hydrogens; may add to the tally.
        shares: columns that are true for good molecules, and figures of the same names: `ead compare` tests them.
        default: whether it is measured when nobody says what is.
        packages: that its figures depend on, besides RDKit.
        check: raises the ConfigError of a missing package.
        complete: adds to the tally what only the finished table shows.
        note: what a reader must know of its figures.
    """

    name: str
    section: str
    cost: Cost
    summarise: Callable[[Evidence], Section]
    columns: Mapping[str, type] = field(default_factory=dict)
    measure: Callable[[Chem.Mol, Tally], Mapping[str, Any]] | None = None
    shares: tuple[str, ...] = ()
    default: bool = False
    packages: tuple[str, ...] = ()
    check: Callable[[], None] = _nothing
    complete: Callable[[Tally, "Columns", "Progress"], None] = _nothing
    note: Callable[[Evidence], str | None] = _nothing
