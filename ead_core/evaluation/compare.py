"""Cards side by side, with the significance of what differs.

Molecules of two runs belong together where both tables carry ids, the same ones, and each pair has the same number of
atoms: such runs began with the same seeds, so that shares are compared pair by pair (McNemar). The settings of one
`quality.json` have been compared like this when they were measured. Others are independent.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ead_core.common.intervals import independent_difference, paired_difference
from ead_core.errors import DataError
from ead_core.evaluation.card import TITLES, Card, Evaluated
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.difference import Difference
from ead_core.evaluation.figure import Figure
from ead_core.evaluation.part import Cost
from ead_core.evaluation.parts import PARTS
from ead_core.evaluation.report import CARD
from ead_core.evaluation.table import TABLE

FLAGS = {  # figures that are shares of molecules, and the columns behind them
    "molecule_stability": "stable",
    "validity": "valid",
    "even_electrons": "even_electrons",
    "perceived": "perceived",
    "strict_validity": "strict_valid",
    **{name: name for part in PARTS.values() for name in part.shares},
}
_SAMPLED = {name for part in PARTS.values() if part.cost is Cost.SAMPLED for name in part.shares}


def load_evaluated(path: Path) -> Evaluated:
    """A card.json, or that of a folder, with the table beside it if there is one (DataError if it is no card)."""
    file = path / CARD if path.is_dir() else path
    table = file.parent / TABLE
    return Evaluated(Card.load(file), Columns(table) if table.is_file() else None)


def differences(first: Evaluated, second: Evaluated) -> dict[str, Difference]:
    """The differences of all shares of molecules that both cards have, by the name of the figure."""
    a, b = _by_name(first.card), _by_name(second.card)
    order = _pairing(first.columns, second.columns)
    measured = second.differences if second.baseline == first.card else {}
    found = {}
    for name, column in FLAGS.items():
        if name in a and name in b:
            pair = measured.get(name)
            if order is not None and first.columns and second.columns:
                pair = _paired(first.columns, second.columns, column, order, name in _SAMPLED)
            found[name] = pair or _independent(a[name], b[name])
    return found


def _by_name(card: Card) -> Mapping[str, Figure]:
    return {name: figure for _, name, figure in card.figures()}


def _pairing(a: Columns | None, b: Columns | None) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows of both in the order of their common ids; None if they are no pairs."""
    if a is None or b is None:
        return None
    ids = a.numbers("id"), b.numbers("id")
    if not all(np.isfinite(one).all() and len(np.unique(one)) == len(one) for one in ids):
        return None
    common, rows_a, rows_b = np.intersect1d(*ids, return_indices=True)
    atoms_a, atoms_b = a.numbers("atoms")[rows_a], b.numbers("atoms")[rows_b]
    known = np.isfinite(atoms_a) & np.isfinite(atoms_b)  # a molecule that relaxation has dropped has none
    if len(common) < 2 or not np.array_equal(atoms_a[known], atoms_b[known]):
        return None
    return rows_a, rows_b


def _paired(
    a: Columns, b: Columns, column: str, order: tuple[NDArray[np.int64], NDArray[np.int64]], sampled: bool
) -> Difference | None:
    hits = a.flags(column)[order[0]], b.flags(column)[order[1]]
    if sampled:
        both = a.sampled[order[0]] & b.sampled[order[1]]
        hits = hits[0][both], hits[1][both]
    if not len(hits[0]):
        return None
    pair = paired_difference(*hits)
    return Difference(pair.difference, pair.interval, pair.p_value, len(hits[0]))


def _independent(a: Figure, b: Figure) -> Difference:
    found = independent_difference(round(a.value * a.of), a.of, round(b.value * b.of), b.of)
    return Difference(found.difference, found.interval, found.p_value, 0)


def side_by_side(evaluated: Sequence[Evaluated]) -> list[list[str]]:
    """Rows of text: a heading, then every figure of any card, and what differs from the first card.

    Raises:
        DataError: fewer than two cards.
    """
    if len(evaluated) < 2:
        raise DataError("a comparison needs at least two cards.")
    first, *others = evaluated
    rows = [["", *(one.card.name for one in evaluated), *(f"{one.card.name} − {first.card.name}" for one in others)]]
    named = [{(section, name): figure for section, name, figure in one.card.figures()} for one in evaluated]
    changes = [differences(first, one) for one in others]
    keys = dict.fromkeys(key for figures in named for key in figures)
    for key in sorted(keys, key=lambda key: list(TITLES).index(key[0])):  # a stable sort: names keep their order
        title = next(figures[key].title for figures in named if key in figures)
        values = [figures[key].shown() if key in figures else "" for figures in named]
        rows.append([title, *values, *(_shown(change.get(key[1])) for change in changes)])
    return rows


def lacks_tables(evaluated: Sequence[Evaluated]) -> bool:
    """Whether a card is taken as independent of the first only because one has no table of its molecules."""
    first, *others = evaluated
    return any(
        None in (first.columns, one.columns) and not all(change.pairs for change in differences(first, one).values())
        for one in others
    )


def _shown(change: Difference | None) -> str:
    if change is None:
        return ""
    kind = f"{change.pairs:,} pairs" if change.pairs else "independent"
    return f"{change.points()}, p = {change.p_value:.2g}, {kind}"
