"""Tables, a sentence, a picture and flat figures of what good_molecule.py has measured."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from good_molecule_cost import GOOD, NOVELTY, ROWS, STABLE, Cost, Turn
from speed import interval

from ead_core.pictures.figures import new_figure, write_figure

THEIRS, OURS = "#e07b00", "#1f77b4"
COLUMNS = (
    "",
    "EDM's way, CPU s",
    "here, CPU s",
    "of which judging",
    "accepted %",
    "calls per attempt",
    "ratio (range)",
)


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def times(ratios: Sequence[float]) -> str:
    """The median and the range."""
    found = interval(ratios)
    return f"{found['value']:,.0f} ({found['low']:,.0f}–{found['high']:,.0f})"


def table(turns: Sequence[Turn]) -> str:
    """A line per row, medians over the rounds; seconds per accepted molecule."""
    lines = [line(*COLUMNS), "|---" * len(COLUMNS) + "|"]
    for row in turns[0].ours:
        ours = [turn.ours[row] for turn in turns]
        seconds = [
            median(turn.theirs(row).seconds for turn in turns),
            median(cost.seconds for cost in ours),
            median(cost.judging / cost.accepted for cost in ours),
        ]
        shares = f"{100 * median(cost.accepted for cost in ours):.1f}", f"{median(cost.calls for cost in ours):.1f}"
        ratio = times([turn.ratio(row) for turn in turns])
        lines.append(line(ROWS[row].title, *(f"{value:.3g}" for value in seconds), *shares, ratio))
    return "\n".join(lines)


def decomposition(turns: Sequence[Turn], row: str) -> str:
    """The factors of a row's ratio and their product, in the round whose ratio is in the middle."""
    ordered = sorted(turns, key=lambda turn: turn.ratio(row))
    found = ordered[(len(ordered) - 1) // 2].factors(row)
    lines = [line(ROWS[row].title, "factor"), "|---|---|", *(line(name, f"{each:.2f}") for name, each in found.items())]
    return "\n".join([*lines, line("product", f"{math.prod(found.values()):,.0f}")])


def headline(turns: Sequence[Turn], row: str, known: bool) -> str:
    """The cost of a row's molecule in words.

    Args:
        turns: of all rounds.
        row: which.
        known: whether molecules had to be new.
    """
    new = known and ROWS[row].accept == GOOD
    kind = "stable" if ROWS[row].accept == STABLE else "strictly valid, plausible, distinct" + ", new" * new
    here, there = (median(cost.seconds for cost in costs) for costs in sides(turns, row))
    text = (
        f"A {kind} molecule costs {here:.3g} CPU seconds here and at least {there:.3g} in EDM's way: "
        f"{times([turn.ratio(row) for turn in turns])} times as much"
    )
    if new:
        return f"{text}, or {times([turn.ratio(row, NOVELTY) for turn in turns])} with its novelty counted too."
    return f"{text}." if known else f"{text}. Without --known nobody has asked whether it is new."


def sides(turns: Sequence[Turn], row: str) -> tuple[list[Cost], list[Cost]]:
    """Ours and theirs, by round."""
    return [turn.ours[row] for turn in turns], [turn.theirs(row) for turn in turns]


def picture(turns: Sequence[Turn], path: Path) -> None:
    """CPU seconds per molecule as bars on a logarithmic axis, with the range of the rounds."""
    rows = list(turns[0].ours)
    bars = {"EDM's way of computing, its calls and yield": [turn.theirs(rows[0]).seconds for turn in turns]}
    bars |= {ROWS[row].title: [turn.ours[row].seconds for turn in turns] for row in rows}
    figure = new_figure(9, 0.55 * len(bars) + 0.9)
    axes = figure.add_subplot()
    for place, (seconds, colour) in enumerate(zip(bars.values(), [THEIRS, *[OURS] * len(rows)], strict=True)):
        found = interval(seconds)
        reach = [[found["value"] - found["low"]], [found["high"] - found["value"]]]
        axes.barh(place, found["value"], color=colour, xerr=reach, capsize=3)
        axes.annotate(f"  {found['value']:.3g} s", (found["high"], place), va="center")
    axes.set(xscale="log", yticks=range(len(bars)), yticklabels=list(bars), xlabel="CPU seconds per molecule")
    axes.set_xlim(right=8 * max(map(max, bars.values())))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, path)


def figures(turns: Sequence[Turn], known: bool) -> dict[str, Any]:
    """Flat figures, each with its median and range over the rounds."""
    result = {
        "reference_call": interval([turn.reference for turn in turns]),
        "same_network_call": interval([turn.same_network for turn in turns]),
        "novel": known,
    }
    for row in turns[0].ours:
        ours, theirs = sides(turns, row)
        columns = {
            "ratio": [turn.ratio(row) for turn in turns],
            "seconds": [cost.seconds for cost in ours],
            "reference_seconds": [cost.seconds for cost in theirs],
            **{name: [getattr(cost, name) for cost in ours] for name in Cost._fields},
        }
        result |= {f"{row}.{name}": interval(values) for name, values in columns.items()}
    return result
