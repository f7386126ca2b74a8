"""Pictures of `schedules.py`: every schedule on a line of its own, and stability against network calls."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from schedules_rows import (
    RATIO,
    RATIOS,
    SYNCHRONOUS,
    WINDOW,
    WINDOWS,
    ratio_name,
    together_name,
    window_name,
)

from ead_core.pictures.figures import new_figure, write_figure

COLOURS = {
    "adaptive": "#1f77b4",
    "random": "#e07b00",
    "together": "#1a9850",
    "synchronous": "#444444",
    "manual": "#a05fc0",
    "cooled": "#c04040",
}
# What belongs together when settings grow, each with a label for its points.
FAMILIES = {
    "adaptive, windows": ("#1f77b4", {window_name(w): w for w in (WINDOW, *WINDOWS)}),
    "adaptive, ratios": ("#a05fc0", {ratio_name(ratio): ratio for ratio in (RATIO, *RATIOS)}),
    "molecules that wait as a whole, like a window": ("#1a9850", {together_name(w): w for w in (WINDOW, *WINDOWS)}),
    "synchronous": ("#444444", {SYNCHRONOUS: ""}),
}


class Point(NamedTuple):
    """Of a row: stable molecules and their 95 % interval, both in percent, and network calls per molecule."""

    stable: float
    interval: tuple[float, ...]
    calls: float

    @property
    def below_and_above(self) -> list[list[float]]:
        """The interval's ends as distances, as error bars want them."""
        low, high = self.interval
        return [[self.stable - low], [high - self.stable]]


def draw_rows(points: Mapping[str, Point], path: Path, title: str) -> None:
    """A line per row: stability with its interval, and the network calls; grey is the interval without asynchrony."""
    figure = new_figure(9, 1.2 + 0.3 * len(points))
    axes = figure.subplots()
    for place, (name, point) in enumerate(points.items()):
        colour = COLOURS[name.split("-", maxsplit=1)[0]]
        axes.errorbar(point.stable, place, xerr=point.below_and_above, marker="o", color=colour, capsize=2)
        note = f"{point.calls:.0f} calls"
        axes.text(point.interval[1] + 0.3, place, note, va="center", fontsize=8, color="#555555")
        if name == SYNCHRONOUS:
            axes.axvspan(*point.interval, color="#eeeeee", zorder=0)
    axes.set_yticks(range(len(points)), list(points))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="stable molecules, % (95 % interval)", title=title)
    axes.grid(alpha=0.25)
    write_figure(figure, path)


def draw_calls(points: Mapping[str, Point], path: Path, title: str) -> None:
    """Stability against network calls; a line joins rows of which one setting grows."""
    figure = new_figure(8, 5)
    axes = figure.subplots()
    for label, (colour, rows) in FAMILIES.items():
        found = {setting: points[name] for name, setting in rows.items() if name in points}
        calls, stable = [point.calls for point in found.values()], [point.stable for point in found.values()]
        axes.plot(calls, stable, color=colour, marker="o", label=label)
        for setting, point in found.items():
            axes.errorbar(point.calls, point.stable, yerr=point.below_and_above, color=colour, capsize=2, alpha=0.4)
            axes.annotate(str(setting), (point.calls, point.stable), (4, -10), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    ticks = (100, 200, 500, 1000, 2000, 5000)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="network calls per molecule", ylabel="stable molecules, % (95 % interval)", title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    write_figure(figure, path)
