"""Settings and figures of trials as text: what is printed while a sweep runs, and at its end."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ead_core.config.conditions import as_yaml
from ead_platform.sweep.objectives import CALLS, Goals, shown
from ead_platform.sweep.study import FROM_THE_TOP, OF_THE_GRID

STABLE = "molecule_stability"  # what the founding experiment ranks by
Row = Mapping[str, Any]


def setting(point: Row) -> str:
    """`async_ratio 0.2 · history_window 2 · …`; with ratio 0 only some of the others mean anything."""
    if point.get("sampler.async_ratio") == 0 and point.get("sampler.policy", "adaptive") == "adaptive":
        return " · ".join(
            ["synchronous", *_named({key: point[key] for key in (*OF_THE_GRID, *FROM_THE_TOP) if key in point})]
        )
    return " · ".join(_named(point))


def _named(point: Row) -> list[str]:
    return [f"{key.removeprefix('sampler.')} {rounded(value)}" for key, value in point.items()]


def rounded(value: Any) -> str:
    """A value of a setting as it is read, to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else as_yaml(value)


def difference(row: Row, name: str = STABLE) -> str:
    """A share's difference to synchronous sampling in points, with its interval."""
    low, high = (100 * row[f"{name}_difference_{end}"] for end in ("low", "high"))
    return f"{100 * row[f'{name}_difference']:+.1f} ({low:+.1f} to {high:+.1f})"


def line(row: Row, point: Row, goals: Goals) -> str:
    """What is printed of a trial that has been measured."""
    calls = f"{row[CALLS]:.0f} calls"
    if goals.usual:
        return f"stable {shown(row, STABLE, True)}  difference {difference(row)}  {calls}  {setting(point)}"
    figures = [f"{name} {goals.shown(row, name)}" for name in goals.names if name != CALLS]
    broken = [f"breaks {each}" for each in goals.constraints if each.excess(row) > 0]
    return "  ".join([*figures, calls, *broken, setting(point)])


def evidence(row: Row, goals: Goals) -> str:
    """What is printed of a setting on fresh molecules."""
    if goals.usual:
        figures = [f"stable {shown(row, STABLE, True)}"]
    else:
        figures = [f"{name} {goals.shown(row, name)}" for name in goals.names if name != CALLS]
    name = goals.first.name
    paired = [f"difference to synchronous {difference(row, name)}"] if f"{name}_difference" in row else []
    return ", ".join([*figures, *paired, f"{row[CALLS]:.0f} calls"])


def verdict(confirmed: Row) -> str:
    """Whether the best setting is better than synchronous sampling, from its figures on fresh molecules."""
    if not confirmed:
        return "No setting was better than synchronous sampling."
    comparison = f"synchronous sampling: {difference(confirmed)} points of stable molecules"
    if confirmed[f"{STABLE}_difference_low"] > 0:
        return f"The best setting is better than {comparison}."
    if confirmed[f"{STABLE}_difference_high"] < 0:
        return f"The best setting is worse than {comparison}, on molecules that had no part in choosing it."
    return f"The best setting is not shown to be better than {comparison}, an interval that includes 0."


def ranking(rows: Sequence[Row], points: Sequence[Row], goals: Goals, samples: int) -> Table:
    """The ranked trials as a table with intervals and costs."""
    view = Table(title=f"{samples} molecules per setting, equal noise; 95 % intervals; differences are paired")
    heading, *cells = ranking_cells(rows, points, goals)
    for number, column in enumerate(heading):
        view.add_column(column, no_wrap=number > 0, justify="right" if number else "left")
    for row in cells:
        view.add_row(*row)
    return view


def ranking_cells(rows: Sequence[Row], points: Sequence[Row], goals: Goals) -> list[list[str]]:
    """The same as rows of text, the heading first."""
    if goals.usual:
        heading = ["setting", "stable %", "difference", "p", "atoms %", "valid %", "V×U %", "calls", "s/mol"]
        return [heading, *([setting(point), *_usual(row)] for row, point in zip(rows, points, strict=True))]
    names = [name for name in goals.names if name != CALLS]
    heading = ["setting", *(f"{name}{' %' if goals.percent(name) else ''}" for name in names), "calls", "s/mol"]
    heading += ["keeps bounds"] if goals.constraints else []
    table = [heading]
    for row, point in zip(rows, points, strict=True):
        figures = [
            *(goals.shown(row, name) for name in names),
            f"{row[CALLS]:.0f}",
            f"{row['seconds_per_molecule']:.2f}",
        ]
        table.append([setting(point), *figures, *(["yes" if goals.kept(row) else "no"] if goals.constraints else [])])
    return table


def _usual(row: Row) -> list[str]:
    shares = [f"{100 * row[name]:.1f}" for name in ("atom_stability", "validity", "validity_x_uniqueness")]
    p_value = f"{row[f'{STABLE}_p_value']:.2g}"
    costs = [f"{row[CALLS]:.0f}", f"{row['seconds_per_molecule']:.2f}"]
    return [shown(row, STABLE, True), difference(row), p_value, *shares, *costs]
