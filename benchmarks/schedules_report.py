"""Tables of `schedules.py`, from the rows in its folder, and the document that they go into."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from schedules_order import CLASSES, order_of_settling
from schedules_pictures import Point, draw_calls, draw_rows
from schedules_rows import SYNCHRONOUS, Row

from ead_core.common.files import write_aside
from ead_core.data.store import MoleculeSet, load_npz
from ead_core.errors import DataError
from ead_core.evaluation.card import Evaluated
from ead_core.evaluation.compare import differences
from ead_core.evaluation.published import evaluate_published

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
            with np.load(folder / f"{row.name}.seen.npz") as arrays:
                seen = dict(arrays)
            about = json.loads((folder / f"{row.name}.json").read_text())
            found[row.name] = Result(row, about, molecules, evaluate_published(molecules), seen)
    return found


def difference(base: Result | None, result: Result) -> str:
    """Paired difference of molecule stability in points, with McNemar's p."""
    if base is None or base is result:
        return ""
    pair = differences(base.found, result.found)["molecule_stability"]
    low, high = pair.interval
    return f"{100 * pair.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), p = {pair.p_value:.1g}"


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


def comparison(results: Mapping[str, Result], base: Result | None) -> str:
    """Schedules side by side, controls also against the row that they follow."""
    follow = any(result.row.like for result in results.values())
    titles = ["schedule", "molecules", "atoms stable %", "molecules stable %", "valid %", "V×U %", "to synchronous"]
    titles += ["to the row it follows"] * follow + ["P(advance)", "spread", "network calls", "s/molecule"]
    lines = []
    for name, result in results.items():
        lines.append([name, str(len(result.molecules)), *quality(result), difference(base, result)])
        lines[-1] += [difference(results.get(result.row.like or ""), result)] * follow + cost(result)
    return table(titles, lines)


def settling(results: Mapping[str, Result]) -> str:
    """Mean rank of settling by class of atom."""
    chosen = {name: result for name, result in results.items() if name.startswith(("adaptive", "random"))}
    lines = []
    for name, result in chosen.items():
        found = order_of_settling(result.molecules, result.seen["settled"])
        cells = [f"{found[key][0]:.3f} ± {1.96 * found[key][1]:.3f}" if key in found else "" for key in CLASSES]
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
    base = results["main"].get(SYNCHRONOUS)
    parts = [
        f"**Schedules and controls** (`{checkpoint}`).",
        comparison(results["main"], base),
        "**Windows and patience** (`max_pauses`), at `async_ratio` 0.2.",
        comparison(results["window"], base),
        "**Ratios**, at window 2.",
        comparison(results["ratio"], base),
        "**Order of settling**: mean share of the other atoms that became clean before (0.5 if the class does not "
        "matter; 95 % interval over stable molecules).",
        settling(results["main"]),
        f"![Stability and network calls of every schedule]({path.stem}.png)",
        f"![Stability against network calls, by window, patience and ratio]({path.stem}-calls.png)",
    ]
    if results["main"]:
        draw_rows(points(results["main"]), path.with_suffix(".png"), f"{checkpoint}: schedules on the same molecules")
    everything = points({name: result for rows in results.values() for name, result in rows.items()})
    draw_calls(everything, path.with_name(f"{path.stem}-calls.png"), f"{checkpoint}: more pauses, more network calls")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with write_aside(path) as aside:
        aside.write_text("\n\n".join([before + BEGIN, *parts, END + after]))
