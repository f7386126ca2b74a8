"""The pictures of a sweep: quality against cost, the front, slices through the space, and what matters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ead_core.pictures.figures import new_figure, write_figure
from ead_platform.sweep.front import front, respects
from ead_platform.sweep.importance import importances
from ead_platform.sweep.lines import STABLE
from ead_platform.sweep.objectives import CALLS, Goals
from ead_platform.sweep.records import PLOT, SweepFolder
from ead_platform.sweep.space import MARKS, Choice, Space
from ead_platform.sweep.study import Campaign

FRONT, SLICES, IMPORTANCES = "front.png", "slices.png", "importances.png"
MARKERS = "osD^vP*X"
OURS, OTHER, BROKEN = "#2b5c8a", "0.75", "#c9772b"
IN_A_ROW = 4
Row = Mapping[str, Any]


def draw_all(folder: SweepFolder, space: Space, goals: Goals, campaign: Campaign) -> list[Path]:
    """Write the pictures of a finished sweep; the main one is the first."""
    rows = folder.finished
    figures = {FRONT: front_figure(rows, goals, campaign), SLICES: slices_figure(rows, space, goals)}
    if matter := importances(space, goals, rows):
        figures[IMPORTANCES] = importance_figure(matter, goals)
    if goals.usual:
        figures = {PLOT: founding_figure(rows, campaign), **figures}
    paths = [folder.path / name for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        write_figure(figure, path, dpi=130)
    return paths


def founding_figure(rows: Sequence[Row], campaign: Campaign) -> Any:
    """Stability against cost, one point per trial: colour = asynchronous ratio, marker = pause mode."""
    table = pd.DataFrame(rows)
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    ratios = table.get("sampler.async_ratio", pd.Series(0.0, index=table.index)).fillna(0).astype(float)
    modes = table.get("sampler.pause_mode", pd.Series("repeat", index=table.index)).where(ratios > 0, "synchronous")
    scale = Normalize(0, max(float(ratios.max()), 1e-9))
    for number, mode in enumerate(sorted(modes.unique())):
        marker = MARKERS[number % len(MARKERS)]
        _points(axes, table[modes == mode], ratios[modes == mode], scale, marker, str(mode))
    axes.set(xlabel="network calls per molecule", ylabel="stable molecules, % (95 % interval)")
    axes.set_title(f"{campaign.checkpoint.name}: {campaign.samples} molecules per setting, equal noise")
    axes.grid(alpha=0.3)
    legend = figure.legend(loc="outside lower center", ncols=4)
    for handle in legend.legend_handles:
        handle.set_array(None)  # type: ignore[union-attr]  # the colour means the ratio, the shape the pause mode
        handle.set_facecolor("0.8")  # type: ignore[union-attr]
    figure.colorbar(ScalarMappable(norm=scale, cmap="viridis"), ax=axes, label="async_ratio")
    return figure


def _points(axes: Axes, rows: pd.DataFrame, ratios: pd.Series, scale: Any, marker: str, label: str) -> None:
    quality = 100 * rows[STABLE]
    below, above = quality - 100 * rows[f"{STABLE}_low"], 100 * rows[f"{STABLE}_high"] - quality
    cost = rows[CALLS]
    axes.errorbar(cost, quality, yerr=[below, above], fmt="none", ecolor="0.75", zorder=1)
    axes.scatter(cost, quality, c=ratios, norm=scale, cmap="viridis", marker=marker, s=70, label=label, edgecolors="k")


def front_figure(rows: Sequence[Row], goals: Goals, campaign: Campaign) -> Any:
    """All trials with their intervals, in each pair of the first respect and another, and the front among them."""
    first, *others = respects(goals)
    others = others or [first]
    best = front(goals, rows)
    names = {row["trial"] for row in best}
    kinds = {
        "on the front": (best, OURS),
        "others": ([row for row in rows if row["trial"] not in names and goals.kept(row)], OTHER),
        "break a bound": ([row for row in rows if not goals.kept(row)], BROKEN),
    }
    figure = new_figure(6.2 * len(others), 4.6)
    for place, other in enumerate(others, start=1):
        axes = figure.add_subplot(1, len(others), place)
        for number, (label, (chosen, colour)) in enumerate(kinds.items()):
            if chosen:
                _with_intervals(axes, chosen, (other.name, first.name), goals, colour, label, zorder=5 - number)
        if len(others) == 1 and len(best) > 1:
            along = sorted(best, key=lambda row: row[other.name])
            x, y = (_scaled(along, name, goals) for name in (other.name, first.name))
            axes.plot(x, y, color=OURS, linewidth=1, alpha=0.6, zorder=4)
        axes.set(xlabel=_axis(other.name, goals), ylabel=_axis(first.name, goals))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"{campaign.checkpoint.name}: {campaign.samples} molecules per setting, 95 % intervals", fontsize=11
    )
    return figure


def slices_figure(rows: Sequence[Row], space: Space, goals: Goals) -> Any:
    """The first objective over each parameter, a point per trial that has it."""
    shown = [key for key in space.keys if any(key in row for row in rows)]
    figure = new_figure(3.4 * min(IN_A_ROW, len(shown)), 2.9 * -(-len(shown) // IN_A_ROW))
    for place, key in enumerate(shown, start=1):
        axes = figure.add_subplot(-(-len(shown) // IN_A_ROW), min(IN_A_ROW, len(shown)), place)
        _slice(axes, [row for row in rows if key in row], key, space, goals)
        if (place - 1) % IN_A_ROW == 0:
            axes.set_ylabel(_axis(goals.first.name, goals), fontsize=8)
    return figure


def _slice(axes: Axes, rows: Sequence[Row], key: str, space: Space, goals: Goals) -> None:
    parameter, name = space.parameters[key], goals.first.name
    values = [row[key] for row in rows]
    if isinstance(parameter, Choice):
        labels = [str(choice) for choice in parameter.choices]
        values = [labels.index(str(value)) for value in values]
        axes.set_xticks(range(len(labels)), labels, rotation=30 if max(map(len, labels)) > 4 else 0)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif parameter.log:
        axes.set_xscale("log")
        ticks = parameter.marks()[:: MARKS // 2]  # matplotlib's own run into each other within a decade or two
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    for kept, colour in ((True, OURS), (False, BROKEN)):
        chosen = [place for place, row in enumerate(rows) if goals.kept(row) == kept]
        x, some = [values[place] for place in chosen], [rows[place] for place in chosen]
        y = _scaled(some, name, goals)
        axes.errorbar(x, y, yerr=_ends(some, name, goals, y), fmt="o", color=colour, ecolor=OTHER, markersize=4)
    axes.set_title(key.removeprefix("sampler."), fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def importance_figure(matter: Mapping[str, Mapping[str, float]], goals: Goals) -> Any:
    """A bar per parameter, for each objective."""
    keys = list(dict.fromkeys(key for shares in matter.values() for key in shares))
    figure = new_figure(7, 1.2 + 0.32 * len(keys) * len(matter))
    axes = figure.add_subplot()
    height = 0.8 / len(matter)
    for number, (name, shares) in enumerate(matter.items()):
        places = [place + number * height for place in range(len(keys))]
        axes.barh(places, [shares.get(key, 0) for key in keys], height, label=goals.title(name), color=f"C{number}")
    middle = 0.4 - height / 2
    axes.set_yticks([place + middle for place in range(len(keys))], [key.removeprefix("sampler.") for key in keys])
    axes.invert_yaxis()
    axes.set(xlabel="share of the variance that it explains", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _with_intervals(
    axes: Axes, rows: Sequence[Row], names: tuple[str, str], goals: Goals, colour: str, label: str, *, zorder: int
) -> None:
    x, y = (_scaled(rows, name, goals) for name in names)
    x_ends, y_ends = (_ends(rows, name, goals, at) for name, at in zip(names, (x, y), strict=True))
    axes.errorbar(
        x, y, xerr=x_ends, yerr=y_ends, fmt="o", color=colour, ecolor=OTHER, elinewidth=1, label=label, zorder=zorder
    )


def _scaled(rows: Sequence[Row], name: str, goals: Goals) -> list[float]:
    return [float(row[name]) * (100 if goals.percent(name) else 1) for row in rows]


def _ends(rows: Sequence[Row], name: str, goals: Goals, middle: list[float]) -> list[list[float]] | None:
    """Lengths below and above; None where a measure has no interval."""
    if not all(f"{name}_low" in row for row in rows):
        return None
    scale = 100 if goals.percent(name) else 1
    low, high = ([scale * float(row[f"{name}_{end}"]) for row in rows] for end in ("low", "high"))
    return [
        [max(at - one, 0) for at, one in zip(middle, low, strict=True)],
        [max(one - at, 0) for at, one in zip(middle, high, strict=True)],
    ]


def _axis(name: str, goals: Goals) -> str:
    return f"{goals.title(name)}{', %' if goals.percent(name) else ''}"
