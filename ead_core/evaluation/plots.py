"""The plots of card.html."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.evaluation.card import Card
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.shapes import BINS
from ead_core.evaluation.tally import Tally
from ead_core.pictures.figures import new_figure

OURS, REAL = "#2b5c8a", "#c9772b"
_PATTERNS = 5  # of bonds, angles and torsions together
_IN_A_ROW = 4


def distributions(card: Card, columns: Columns, tally: Tally, reference: Tally | None) -> Any:
    """A matplotlib figure: sizes, strain, checks, and the patterns that weigh most, beside the reference's."""
    patterns = [(row.kind, row.pattern) for row in card.patterns[:_PATTERNS]] or _common(tally)
    plots: list[Callable[[Any], None]] = [lambda panel: _sizes(panel, tally, reference)]
    strain = columns.numbers("strain")
    if np.isfinite(strain).any():
        plots.append(lambda panel: _strain(panel, strain[np.isfinite(strain)]))
    plots.append(lambda panel: _strict(panel, card))
    for kind, pattern in patterns:
        plots.append(functools.partial(_pattern, kind=kind, pattern=pattern, tally=tally, reference=reference))
    rows = -(-len(plots) // _IN_A_ROW)
    figure = new_figure(11, 2.8 * rows)
    for place, plot in enumerate(plots, start=1):
        plot(figure.add_subplot(rows, min(len(plots), _IN_A_ROW), place))
    return figure


def _common(tally: Tally) -> list[tuple[str, str]]:
    """The patterns that occur most, bonds first."""
    counts = {(kind, name): int(h.sum()) for kind, names in tally.shapes.items() for name, h in names.items()}
    return sorted(counts, key=lambda key: -counts[key])[:_PATTERNS]


def _sizes(panel: Any, tally: Tally, reference: Tally | None) -> None:
    for counts, colour, label in ((tally.sizes, OURS, "molecules"), (reference and reference.sizes, REAL, "reference")):
        if counts:
            sizes = np.arange(min(counts), max(counts) + 1)
            shares = np.array([counts.get(int(size), 0) for size in sizes]) / sum(counts.values())
            panel.step(sizes, shares, where="mid", color=colour, label=label)
    panel.set(title="atoms per molecule", ylim=(0, None))
    if reference:
        panel.legend(frameon=False, fontsize=8)


def _strain(panel: Any, known: NDArray[np.float64]) -> None:
    panel.hist(known, bins=40, range=(0, max(float(np.percentile(known, 98)), 1e-3)), color=OURS)
    panel.set(title="strain, kcal/mol")


def _strict(panel: Any, card: Card) -> None:
    """Shares of attempts that pass, from lax to strict."""
    wanted = (
        ("published", "validity"),
        ("published", "molecule_stability"),
        ("strict", "perceived"),
        ("strict", "connected"),
        ("strict", "strict_validity"),
        ("plausibility", "posebusters"),
    )
    shown = [card.sections[section][name] for section, name in wanted if name in card.sections.get(section, {})]
    places = np.arange(len(shown))[::-1]
    values = np.array([figure.value for figure in shown])
    low, high = np.array([figure.interval for figure in shown]).T
    panel.barh(places, 100 * values, color=OURS, alpha=0.8)
    panel.errorbar(
        100 * values, places, xerr=100 * np.abs(np.stack([values - low, high - values])), fmt="none", color="black"
    )
    panel.set_yticks(places, [figure.title.split(":")[0] for figure in shown], fontsize=7)
    panel.set(title="molecules that pass, %", xlim=(0, 100))


def _pattern(panel: Any, kind: str, pattern: str, tally: Tally, reference: Tally | None) -> None:
    bins = BINS[kind]
    for source, colour in ((tally, OURS), (reference, REAL)):
        counts = source.shapes.get(kind, {}).get(pattern) if source else None
        if counts is not None and counts.sum():
            panel.step(bins.centres, counts / counts.sum(), where="mid", color=colour, linewidth=1)
            shown = np.flatnonzero(counts > 0.002 * counts.max())
            panel.set_xlim(bins.centres[shown[0]] - 3 * bins.width, bins.centres[shown[-1]] + 3 * bins.width)
    panel.set(title=f"{kind} {pattern}, {bins.unit}", yticks=[])
