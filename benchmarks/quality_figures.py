"""What several programs say of a set of molecules: shares that are good, and how far the set is from QM9."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ead_core.common.intervals import Interval
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.evaluate import evaluate
from ead_core.evaluation.run import EvaluationPlan

Figures = Mapping[str, tuple[float, Interval | None]]
PARTS = ("geometry", "chemistry", "posebusters", "fcd")
QUICK_PARTS = tuple(part for part in PARTS if part != "posebusters")
SHARES = {
    "molecule_stability": "stable %",
    "validity": "valid %",
    "validity_x_uniqueness": "V×U %",
    "novelty": "novel %",
    "strict_validity": "strictly valid %",
    "posebusters": "plausible %",
}
VALUES = {
    "nfe": ("calls", ".0f"),
    "fcd": ("FCD", ".2f"),
    "elements": ("elements", ".3f"),
    "carbon": ("C of heavy", ".3f"),
    "rings": ("rings", ".2f"),
    "aromatic_rings": ("aromatic", ".2f"),
    "w1_bond": ("bonds Å", ".4f"),
    "w1_angle": ("angles °", ".2f"),
    "strain": ("strain kcal/mol", ".1f"),
}
CARBON = 6


def measured(make: Callable[[], MoleculeSet], train: Path | None, plan: EvaluationPlan) -> Figures:
    """Value and interval of all figures of what is made against QM9, by name."""
    molecules = make()
    card = evaluate(molecules, "qm9", train, plan=plan)
    heavy = molecules.charges[molecules.charges > 1]
    figures = {name: (figure.value, figure.interval) for _, name, figure in card.figures()}
    return {**figures, "carbon": (float((heavy == CARBON).mean()), None)}


def titles() -> list[str]:
    """Of the columns, in the order of `cells`."""
    return [*SHARES.values(), *(title for title, _ in VALUES.values())]


def cells(figures: Figures) -> list[str]:
    """Shares in percent with 95 % intervals, then what tells of the distribution; empty where nothing was measured."""
    shares = [percent(figures.get(name)) for name in SHARES]
    return [*shares, *(f"{figures[name][0]:{shape}}" if name in figures else "" for name, (_, shape) in VALUES.items())]


def line(texts: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(texts)} |"


def heading(names: Sequence[str]) -> str:
    """The first two rows of a Markdown table, for one that is printed as it comes."""
    return f"{line(names)}\n{'|---' * len(names)}|"


def percent(figure: tuple[float, Interval | None] | None) -> str:
    """A share with its interval; empty if there is none."""
    if figure is None:
        return ""
    value, interval = figure
    return f"{100 * value:.1f}" + (f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval else "")
