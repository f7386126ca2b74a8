"""The report of a sweep, to act on: what to take and why, the front, what matters, what it cost, how to repeat it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ead_core.config.conditions import as_yaml
from ead_platform.sweep.checked_space import PAPER, RATIO
from ead_platform.sweep.document import Cells, Section, write_html, write_markdown
from ead_platform.sweep.front import front, ranked, respects
from ead_platform.sweep.lines import STABLE, difference, ranking_cells, setting
from ead_platform.sweep.objectives import CALLS, Goals, shown
from ead_platform.sweep.plots import FRONT, IMPORTANCES, SLICES
from ead_platform.sweep.records import FINISHED, SweepFolder, settings
from ead_platform.sweep.space import Space
from ead_platform.sweep.study import Campaign

HTML, MARKDOWN = "report.html", "report.md"
WINDOW = "sampler.history_window"
Row = Mapping[str, Any]
Figures = Mapping[str, float]


def write_report(
    folder: SweepFolder,
    space: Space,
    goals: Goals,
    campaign: Campaign,
    chosen: Mapping[str, Row],
    confirmed: Mapping[str, Figures],
    command: str,
) -> list[Path]:
    """Write report.html and report.md into the folder, beside the pictures (OutputError if they cannot be written).

    Args:
        folder: of the sweep, with its pictures.
        space: of its points.
        goals: what it was after.
        campaign: model and molecules.
        chosen: recommended trials by name.
        confirmed: figures of these settings on fresh molecules.
        command: that repeats the sweep.
    """
    rows = ranked(goals, folder.finished)
    points = [folder.point(row) for row in rows]
    best = front(goals, rows)
    sections = [
        _recommendation(folder, goals, campaign, chosen, confirmed),
        Section(
            "The front",
            f"Settings that no other is at least as good as in every respect ({', '.join(map(str, respects(goals)))}), "
            "and better in one. Intervals that overlap leave open which of two is better.",
            folder.path / FRONT,
            ranking_cells(best, [folder.point(row) for row in best], goals) if best else None,
        ),
        *_importance(folder),
        Section(
            "Slices", "Every trial over each parameter, all others being whatever they were.", folder.path / SLICES
        ),
        *_fifth_table(rows, points, space),
        Section("All trials", "Best first.", table=ranking_cells(rows, points, goals)),
        *_without_figures(folder),
        _cost(rows, campaign),
        Section("To repeat it", code=[command] if command else []),
    ]
    title = f"Sweep of {campaign.checkpoint.name}"
    asked = ", ".join([*map(str, goals.objectives), *map(str, goals.constraints)])
    summary = (
        f"{len(rows)} settings, {campaign.samples} molecules each, seed {campaign.seed}, after {asked}; 95 % intervals."
    )
    write_html(title, summary, sections, folder.path / HTML)
    write_markdown(title, summary, sections, folder.path / MARKDOWN)
    return [folder.path / HTML, folder.path / MARKDOWN]


def _recommendation(
    folder: SweepFolder, goals: Goals, campaign: Campaign, chosen: Mapping[str, Row], confirmed: Mapping[str, Figures]
) -> Section:
    title = "Recommended settings"
    if not chosen:
        return Section(title, f"None: no setting keeps {' and '.join(map(str, goals.constraints))}.")
    names = list(dict.fromkeys([*goals.names, CALLS]))
    heading = ["setting", "molecules", *map(goals.title, names), "difference to synchronous"]
    table: Cells = [heading]
    for name, row in chosen.items():
        point = folder.point(row)
        table.append([f"{name}: {setting(point)}", "of the sweep", *_figures(row, names, goals)])
        if name in confirmed:
            table.append(["", "fresh", *_figures(confirmed[name], names, goals)])
    text = (
        "Fresh molecules had no part in the choice, so their figures are the ones to believe; differences are paired, "
        "in points of the first objective. fast has the fewest network calls of the front, best the best first "
        "objective, balanced is nearest to the best of both."
    )
    commands = [_sample(campaign, name, folder.point(row)) for name, row in chosen.items()]
    return Section(title, text, table=table, code=commands)


def _figures(row: Row, names: Sequence[str], goals: Goals) -> list[str]:
    first = goals.first.name
    paired = difference(row, first) if f"{first}_difference" in row else "–"
    return [*(goals.shown(row, name) for name in names), paired]


def _sample(campaign: Campaign, name: str, point: Mapping[str, Any]) -> str:
    keys = " ".join(f"{key}={as_yaml(value)}" for key, value in settings(point).items())
    return f"ead sample {campaign.checkpoint.name} --num 1000 --out {name}.sdf {keys}"


def _importance(folder: SweepFolder) -> list[Section]:
    path = folder.path / IMPORTANCES
    text = (
        "Share of the variance between trials that each parameter explains by itself (fANOVA), of those that all "
        "trials have. With few trials this is a hint."
    )
    return [Section("What matters", text, path)] if path.is_file() else []


def _fifth_table(rows: Sequence[Row], points: Sequence[Row], space: Space) -> list[Section]:
    """Window and synchronous share, each with the other and all else as in the paper's setting."""
    if not {RATIO, WINDOW} <= space.parameters.keys():
        return []
    found = {tuple(sorted(point.items())): row for row, point in zip(rows, points, strict=True)}

    def cells(key: str, value: Any) -> list[str]:
        point = space.point({"sampler.pause_mode": "repeat", **PAPER, key: value})
        row = found.get(tuple(sorted((point or {}).items())))
        return [shown(row, name, True) if row else "–" for name in (STABLE, "atom_stability")]

    windows = [[str(value), *cells(WINDOW, value)] for value in space.parameters[WINDOW].marks()]
    ratios = [[f"{1 - value:.4g}", *cells(RATIO, value)] for value in space.parameters[RATIO].marks()]
    left, right = (rows + [["", "", ""]] * (max(len(windows), len(ratios)) - len(rows)) for rows in (windows, ratios))
    heading = ["window w (λ = 0.8)", "molecules stable %", "atoms stable %"]
    heading += ["synchronous share λ (w = 2)", "molecules stable %", "atoms stable %"]
    text = "In the form of table 5 of the paper: λ = 1 − sampler.async_ratio, all else as in the paper's setting."
    table = [heading, *([*a, *b] for a, b in zip(left, right, strict=True))]
    return [Section("Window and synchronous share", text, table=table)]


def _without_figures(folder: SweepFolder) -> list[Section]:
    lost = [row for row in folder.rows if row["outcome"] != FINISHED]
    table = [["setting", "outcome", "reason"]] + [
        [setting(folder.point(row)), row["outcome"], row["reason"]] for row in lost
    ]
    text = (
        "refused: settings that do not fit each other, which cost nothing; stopped: out of time; failed: anything else."
    )
    return [Section("Trials without figures", text, table=table)] if lost else []


def _cost(rows: Sequence[Row], campaign: Campaign) -> Section:
    calls = sum(row[CALLS] for row in rows) * campaign.samples
    seconds = sum(row["seconds_per_molecule"] for row in rows) * campaign.samples
    text = (
        f"{calls:,.0f} network calls and {seconds / 60:.1f} minutes of {campaign.threads} CPU each for the trials' own "
        f"molecules ({len(rows)} × {campaign.samples}), as if each trial had gone the whole way: what trials have in "
        "common was computed once. The confirmation comes on top."
    )
    return Section("What it cost", text)
