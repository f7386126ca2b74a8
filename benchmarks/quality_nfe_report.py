"""The table and the picture of `quality_nfe.py`, from its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ead_core.pictures.figures import new_figure, write_figure

Rows = Sequence[Mapping[str, Any]]
COLUMNS = ("atom_stability", "molecule_stability", "validity", "validity_x_uniqueness")
TITLES = "steps, solver, grid, policy, atoms stable %, molecules stable %, valid %, V×U %, network calls, s/molecule"
COLOURS = {"ancestral": "#1f77b4", "ddim": "#e07b00", "dpmpp_2m": "#a05fc0", "dpmpp_2m_sde": "#1a9850"}
KINDS: dict[tuple[str, str], dict[str, Any]] = {
    ("quadratic", "synchronous"): {"marker": "o", "linestyle": "-"},
    ("even", "synchronous"): {"marker": "o", "linestyle": ":", "markerfacecolor": "white"},
    ("quadratic", "adaptive"): {"marker": "*", "linestyle": "none", "markersize": 12},
}
PANELS = {"molecule_stability": "stable molecules, %", "validity": "valid molecules, %"}


def table(rows: Rows) -> str:
    """Markdown, in percent with 95 % intervals; the rows in the order of their steps."""
    titles = TITLES.split(", ")
    return "\n".join([_line(titles), "|" + "---|" * len(titles), *(_line(_cells(row)) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Mapping[str, Any]) -> list[str]:
    settings = [str(row[key]) for key in ("steps", "solver", "grid", "policy")]
    quality = [_percent(row, name) for name in COLUMNS]
    cost = [f"{row['nfe_per_molecule']:.0f}", f"{row['seconds_per_molecule']:.3f}"]
    return [*settings, *quality, *cost]


def _percent(row: Mapping[str, Any], name: str) -> str:
    low, high = row["intervals"][name]
    return f"{100 * row[name]:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def draw(rows: Rows, levels: int, path: Path) -> None:
    """Quality against network calls: a colour per solver, a line style per grid, stars for the adaptive policy.

    Args:
        rows: of `quality_nfe.py`, at least one.
        levels: steps of the full grid.
        path: `.png`, `.svg` or `.pdf`.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = new_figure(11, 5.4)
    ticks = sorted({row["steps"] for row in rows})
    for axes, (name, label) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        for number, (solver, colour) in enumerate(COLOURS.items()):
            for kind, style in KINDS.items():
                line = [row for row in rows if _belongs(row, levels, (solver, *kind))]
                _points(axes, line, name, 1 + 0.015 * number, {"color": colour, **style})
        axes.set(xscale="log", ylim=(0, None), xlabel="network calls per molecule", ylabel=label)
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=len(COLOURS) + len(KINDS), frameon=False)
    first = rows[0]
    figure.suptitle(
        f"{first['checkpoint']}: {first['num_molecules']:,} molecules per point, equal noise, 95 % intervals"
    )
    write_figure(figure, path)


def _belongs(row: Mapping[str, Any], levels: int, line: tuple[str, str, str]) -> bool:
    """Whether a row is on a line; one of all levels, where the grids are one, is on the lines of both grids."""
    grid = line[1] if row["steps"] == levels else row["grid"]
    return (row["solver"], grid, row["policy"]) == line


def _points(axes: Any, rows: Rows, name: str, shift: float, style: Mapping[str, Any]) -> None:
    """Points with intervals, a little to the right by the factor `shift`, so that bars do not hide each other."""
    bars = [[100 * abs(row[name] - row["intervals"][name][side]) for row in rows] for side in (0, 1)]
    calls, quality = [shift * row["nfe_per_molecule"] for row in rows], [100 * row[name] for row in rows]
    axes.errorbar(calls, quality, yerr=bars, elinewidth=1, capsize=2, **style)


def _legend() -> list[Any]:
    """Solvers as colours, grids and policy as styles."""
    from matplotlib.lines import Line2D

    solvers = [Line2D([], [], color=colour, linewidth=3, label=solver) for solver, colour in COLOURS.items()]
    kinds = [
        Line2D([], [], color="0.3", label=policy if policy == "adaptive" else f"{grid} grid", **style)
        for (grid, policy), style in KINDS.items()
    ]
    return solvers + kinds
