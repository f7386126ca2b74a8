"""The table and the picture of `presets.py`, from its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quality_figures import Figures, cells, heading, line, titles

from ead_core.pictures.figures import new_figure, write_figure

SETTINGS = ("steps", "start", "temperature", "corrector", "parity_restarts")
PANELS = {"molecule_stability": "stable molecules, %", "fcd": "Fréchet ChemNet distance"}


class Measured(NamedTuple):
    """A row: its sampler keys, its name if it has one, and value and interval of each figure."""

    settings: Mapping[str, Any]
    name: str | None
    figures: Figures


def table(rows: Sequence[Measured], names: str = "preset") -> str:
    """Markdown: settings, shares in percent with 95 % intervals, and what tells of the distribution, as far as known.

    Args:
        rows: of the table.
        names: title of the first column, their names.
    """
    lines = [[*_settings(row), *cells(row.figures)] for row in rows]
    columns = [column for column in zip([names, *SETTINGS, *titles()], *lines, strict=True) if any(column[1:])]
    first, *rest = zip(*columns, strict=True)
    return "\n".join([heading(first), *map(line, rest)])


def _settings(row: Measured) -> list[str]:
    return [row.name or "", *(f"{row.settings[key]:g}" if key in row.settings else "" for key in SETTINGS)]


def draw(rows: Sequence[Measured], title: str, path: Path) -> None:
    """Stability and distance to the data against network calls: plain rows beside the others.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = new_figure(11, 5)
    made = [row for row in rows if row.settings]
    kinds = {
        "plain": ("0.5", [row for row in made if not _changed(row)]),
        "start, temperature, corrector": ("#1f77b4", [row for row in made if _changed(row) and not _restarts(row)]),
        "restarts": ("#e07b00", [row for row in made if _changed(row) == ["parity_restarts"]]),
        "restarts, start and temperature": (
            "#1a9850",
            [row for row in made if _restarts(row) and row.settings.get("start")],
        ),
    }
    for axes, (name, label) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        for kind, (colour, chosen) in kinds.items():
            _points(axes, [row for row in chosen if name in row.figures], name, kind, colour)
        axes.set(xlabel="network calls per molecule", ylabel=label, xlim=(0, None))
        axes.set_ylim(*((0, None) if name == "fcd" else (50, 100)))
        axes.grid(alpha=0.25)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title)
    write_figure(figure, path)


def _changed(row: Measured) -> list[str]:
    """Which of the settings are not plain."""
    return [key for key in SETTINGS[1:] if key in row.settings]


def _restarts(row: Measured) -> bool:
    return "parity_restarts" in row.settings


def _points(axes: Any, rows: Sequence[Measured], name: str, kind: str, colour: str) -> None:
    """Points with intervals, those of presets with their names."""
    scale = 1 if name == "fcd" else 100
    for place, row in enumerate(rows):
        value, interval = row.figures[name]
        (low, high), calls = interval or (value, value), row.figures["nfe"][0]
        bars = [[scale * (value - low)], [scale * (high - value)]]
        axes.errorbar(
            calls, scale * value, yerr=bars, fmt="o", color=colour, capsize=2, label=kind if place == 0 else None
        )
        if row.name:
            axes.annotate(row.name, (calls, scale * value), xytext=(6, 4), textcoords="offset points")
