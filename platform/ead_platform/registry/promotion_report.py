"""What a person sees of a promotion: the conditions, the verdict, the history, and a picture of both sides."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ead_core.common.intervals import Interval, wilson
from ead_core.pictures.figures import new_figure, write_figure
from ead_platform.registry.examination import Examined
from ead_platform.registry.gate import METRICS, Check
from ead_platform.registry.versions import CHAMPION, REFUSED, Move, Registry

PICTURE = "comparison.png"
COLOURS = ("#2b5c8a", "#c9772b")


class PromotionConsole:
    """Prints to standard output."""

    def __init__(self) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def verdict(self, move: Move | None, registry: Registry) -> None:
        """Print how the promotion ended."""
        if move is None:
            self.say(f"it is the {CHAMPION} already; nothing is moved")
        elif move.decision == REFUSED:
            kept = f"stays version {move.before}" if move.before else "stays undecided"
            self.say(f"refused: {registry.name}@{CHAMPION} {kept}; {move.reason}")
        else:
            was = f" (was {move.before})" if move.before else ""
            self.say(f"{move.decision}: {registry.name}@{CHAMPION} is version {move.after}{was}; {move.reason}")

    def history(self, moves: Sequence[Move], registry: Registry) -> None:
        """A table of all verdicts, oldest first."""
        if not moves:
            self.say(f"{registry.name} has no history yet")
            return
        table = Table(title=f"{registry.name}@{CHAMPION}")
        for column in ("when", "who", "from", "to", "decision", "reason"):
            table.add_column(column, no_wrap=column != "reason", overflow="fold")
        for move in moves:
            when = f"{move.when:%Y-%m-%d %H:%M}" if move.when else ""
            table.add_row(when, move.who, str(move.before or "–"), str(move.after), move.decision, move.reason)
        self._console.print(table, markup=False)


def interval_of(hits: NDArray[np.bool_]) -> Interval:
    """Wilson's interval of 95 %."""
    return wilson(int(hits.sum()), len(hits))


def compare_in_a_picture(checks: Sequence[Check], sides: Sequence[Examined], path: Path) -> None:
    """Shares of both sides with intervals; beside them, gains against what was needed.

    Args:
        checks: of the decision.
        sides: the candidate, and the champion if there is one.
        path: of the picture.
    """
    figure = new_figure(10, 3.6)
    left, right = figure.subplots(1, 2, sharey=True)
    _shares(left, sides)
    _gains(right, checks)
    write_figure(figure, path, dpi=130)


def _shares(panel: Any, sides: Sequence[Examined]) -> None:
    places = np.arange(len(METRICS))[::-1]
    for number, side in enumerate(sides):
        values = np.array([side.outcomes.hits[metric].mean() for metric in METRICS])
        ends = np.array([interval_of(side.outcomes.hits[metric]) for metric in METRICS]).T
        label = f"{side.name}: {side.outcomes.calls.mean():.0f} calls"
        panel.errorbar(
            100 * values,
            places - 0.2 * number,
            xerr=100 * np.abs(ends - values),
            fmt="o",
            color=COLOURS[number],
            label=label,
        )
    panel.set_yticks(places, [metric.replace("_", " ") for metric in METRICS])
    panel.set(xlabel="% of attempts (95 % intervals)", xlim=(0, 100))
    panel.legend(frameon=False, fontsize=8)


def _gains(panel: Any, checks: Sequence[Check]) -> None:
    """Green where the gate is content."""
    gains = [check for check in checks if check.name.startswith("gain.")]
    if not gains:
        panel.set_axis_off()
    for check in gains:
        metric = check.name.removeprefix("gain.")
        place = len(METRICS) - 1 - METRICS.index(metric)
        colour = "#3a7d44" if check.passed else "#b03a2e"
        low, high = check.interval or (check.value, check.value)
        panel.errorbar(
            100 * check.value,
            place,
            xerr=[[100 * (check.value - low)], [100 * (high - check.value)]],
            fmt="o",
            color=colour,
        )
        panel.plot([100 * check.bound] * 2, [place - 0.3, place + 0.3], color="black", linewidth=1)
    panel.axvline(0, color="0.8", zorder=0)
    panel.set(xlabel="candidate − champion, points (line: must be exceeded)")
