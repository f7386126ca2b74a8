"""Tables of `schedules.py`, from the rows in its folder, and the document that they go into."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schedules_order import CLASSES, order_of_atoms
from schedules_pictures import Point, draw_calls, draw_rows
from schedules_rows import QUESTIONS, SYNCHRONOUS, Row
from schedules_work import load_seen

from ead_core.common.files import write_aside
from ead_core.data.store import MoleculeSet, load_npz
from ead_core.errors import DataError
from ead_core.evaluation.card import Evaluated
from ead_core.evaluation.compare import differences
from ead_core.evaluation.published import evaluate_published

TITLES = {
    "window": "**Windows**, at `async_ratio` 0.2.",
    "ratio": "**Ratios**, at window 2.",
    "detail": "**Details that the paper leaves open**, at `async_ratio` 0.2; tests of convergence at window 3.",
}
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


@dataclass(frozen=True)
class Result:
    """A row that has been measured."""

    row: Row
    about: Mapping[str, Any]
    molecules: MoleculeSet
    found: Evaluated
    seen: Mapping[str, Any]


def load(rows: Iterable[Row], folder: Path) -> dict[str, Result]:
    """The rows that there are, by name."""
    found = {}
    for row in rows:
        if (folder / f"{row.name}.json").is_file():
            molecules = load_npz(folder / f"{row.name}.npz")
            seen = load_seen(folder / f"{row.name}.seen.npz")
            about = json.loads((folder / f"{row.name}.json").read_text())
            found[row.name] = Result(row, about, molecules, evaluate_published(molecules), seen)
    return found


def difference(base: Result | None, result: Result) -> str:
    """Paired difference of molecule stability in points, with McNemar's p."""
    if base is None or base is result:
        return ""
    pair = differences(base.found, result.found)["molecule_stability"]
    return f"{pair.points()}, p = {pair.p_value:.1g}"


def quality(result: Result) -> list[str]:
    names = ("atom_stability", "molecule_stability", "validity", "validity_x_uniqueness")
    return [result.found.card.figure(name).percent() for name in names]


def cost(result: Result) -> list[str]:
    visits, advances = result.seen["visits"], result.seen["advances"]
    stage = slice(1, len(result.about["rates"]) + 1)
    went = advances[stage].sum() / max(visits[stage].sum(), 1)
    total, calls = result.seen["spread"]
    properties = result.molecules.properties
    numbers = [f"{went:.2f}", f"{total / max(calls, 1):.1f}", f"{properties['nfe'].mean():.0f}"]
    return [*numbers, f"{properties['seconds'].mean():.2f}"]


def table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [titles, ["---"] * len(titles), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def comparison(results: Mapping[str, Result], base: Result | None, followed: Mapping[str, Result]) -> str:
    """Schedules side by side, controls also against the row that they follow, and the paper's beside ours."""
    follow, theirs = any(r.row.like for r in results.values()), any(r.row.published for r in results.values())
    titles = ["schedule", "molecules", "atoms stable %", "molecules stable %", "valid %", "V×U %"]
    titles += ["paper, stable %"] * theirs + ["to synchronous"] + ["to the row it follows"] * follow
    titles += ["P(advance)", "spread", "network calls", "s/molecule"]
    lines = []
    for name, result in results.items():
        line = [name, str(len(result.molecules)), *quality(result)]
        line += [str(result.row.published or "")] * theirs + [difference(base, result)]
        lines.append([*line, *[difference(followed.get(result.row.like or ""), result)] * follow, *cost(result)])
    return table(titles, lines)


def answers(results: Mapping[str, Result]) -> str:
    """What was asked beforehand, as paired differences; a line per question whose rows are there."""
    lines = []
    for question, name, control in QUESTIONS:
        if name in results and control in results:
            calls = (f"{results[row].molecules.properties['nfe'].mean():.0f}" for row in (name, control))
            lines.append([question, name, control, difference(results[control], results[name]), *calls])
    return table(["question", "row", "beside", "stable molecules, points", "calls", "calls beside"], lines)


def order(results: Mapping[str, Result]) -> str:
    """Mean lead by class of atom."""
    chosen = {name: result for name, result in results.items() if name.startswith(("adaptive", "random"))}
    lines = []
    for name, result in chosen.items():
        found = order_of_atoms(result.molecules, result.seen["lead"])
        cells = [f"{found[key][0]:+.2f} ± {1.96 * found[key][1]:.2f}" if key in found else "" for key in CLASSES]
        lines.append([name, *cells])
    return table(["schedule", *CLASSES], lines)


def points(results: Mapping[str, Result]) -> dict[str, Point]:
    """What pictures show of rows."""
    return {
        name: Point(
            100 * result.found.card.figure("molecule_stability").value,
            tuple(100 * end for end in result.found.card.figure("molecule_stability").interval),
            float(result.molecules.properties["nfe"].mean()),
        )
        for name, result in results.items()
    }


def write_report(tables: Mapping[str, Sequence[Row]], folder: Path, path: Path, checkpoint: str) -> None:
    """Replace what is between the marks of the document by the tables of the rows there are.

    Raises:
        DataError: the document lacks the marks.
    """
    text = path.read_text() if path.is_file() else f"{BEGIN}\n{END}\n"
    if not text.partition(BEGIN)[2].partition(END)[1]:
        raise DataError(f"{path} lacks the marks {BEGIN} and {END}, between which the tables go.")
    results = {key: load(rows, folder) for key, rows in tables.items()}
    every = {name: result for rows in results.values() for name, result in rows.items()}
    base = every.get(SYNCHRONOUS)
    parts = [
        f"**Schedules and controls** (`{checkpoint}`).",
        comparison(results["main"], base, every),
        "**What was asked beforehand.** Asynchrony and choice: yes where the interval lies above 0; cooling, details: "
        "where it does not hold 0.",
        answers(every),
        *(
            text
            for key, title in TITLES.items()
            if results[key]
            for text in (title, comparison(results[key], base, every))
        ),
        "**Order of the atoms**: levels by which they were below the mean of their molecule (95 % interval over stable "
        "molecules).",
        order(results["main"]),
        f"![Stability and network calls of every schedule]({path.stem}.png)",
    ]
    if results["main"]:
        draw_rows(points(results["main"]), path.with_suffix(".png"), f"{checkpoint}: schedules on the same molecules")
    if results["window"] or results["ratio"]:
        title, file = f"{checkpoint}: more pauses, more network calls", path.with_name(f"{path.stem}-calls.png")
        draw_calls(points(every), file, title)
        parts.append(f"![Stability against network calls, by window and ratio]({file.name})")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with write_aside(path) as aside:
        aside.write_text("\n\n".join([before + BEGIN, *parts, END + after]))
