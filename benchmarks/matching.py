"""A table of wishes met from a common pool, beside candidates for each wish, at how many network calls.

    python benchmarks/matching.py --asked gap --num 1000
    python benchmarks/matching.py --asked gap --asked mu --asked alpha --num 200
    python benchmarks/matching.py --asked gap --sized --checkpoint qm9-cond --attempts 8 sampler.steps=25    # one row

Each wish has the values of one training molecule and leaves the size open, or has its size as well (`--sized`); the
wishes are the same in all rows. Who
chooses and who judges is as in choice.py. Errors are over all delivered molecules, and calls over all wishes, those of
refused and spare molecules included. "Shuffled": each wish is given the molecule of any other one. A finished row is a
file in the work folder, so the command goes on where it was.
"""

import resource
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from choice import branched
from kept import kept
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import mean_interval
from ead_core.common.markdown import table
from ead_core.config import parse_overrides, sampler_settings
from ead_core.data.properties import unit_of
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.errors import report_user_errors
from ead_core.evaluation.published import evaluate_published
from ead_core.evaluation.quality_cards import measured_setting
from ead_core.judge.selection import best_of
from ead_core.judge.verdict import judged
from ead_core.prediction.judge import Judge, load_judge
from ead_core.sampling.choice import selector_of
from ead_core.sampling.conditions import decide
from ead_core.sampling.generation import fulfil
from ead_core.sampling.matching import match_wishes
from ead_core.sampling.order import MatchOrder
from ead_core.sampling.requests import Request, prepare, sampler_config

TITLES = ["candidates", "asked for", "error (95 %)", "shuffled", "stable %", "V×U %", "wishes met %", "calls", "CPU s"]


class Row(NamedTuple):
    """How wishes are met: by the best of so many candidates, or by matching so many attempts for each."""

    title: str
    best_of: int = 1
    attempts: int = 0
    settings: Mapping[str, Any] = {}


ROWS = {
    "plain": Row("one"),
    "whole-4": Row("4 whole", 4),
    "whole-8": Row("8 whole", 8),
    "branches-12": Row("12 branches from 0.35 T", settings=branched(12, 0.35)),
    "match-2": Row("matched, 2 attempts", attempts=2),
    "match-4": Row("matched, 4 attempts", attempts=4),
    "match-8": Row("matched, 8 attempts", attempts=8),
}


def drawn(model: Checkpoint, asked: Sequence[str], num: int, seed: int, sized: bool) -> Targets:
    """Values of a training molecule for each wish, and its size if that is wanted; the same ones for every row."""
    known = model.statistics.properties
    anything = Targets.of({name: (known[name].smallest, known[name].largest) for name in asked})
    found = decide(model, seed, torch.arange(num), None, anything)
    columns = np.stack([found.values[name] for name in asked], axis=1).tolist()
    sizes = tuple(found.sizes.tolist()) if sized else ()
    return Targets(tuple(asked), tuple(tuple((value, value) for value in row) for row in columns), sizes)


def made(model: Checkpoint, selector: Judge, row: Row, targets: Targets, seed: int) -> tuple[MoleculeSet, int]:
    """The molecules delivered for the wishes, and the network calls of all that were made."""
    num = len(targets.rows)
    settings = {"repair_attempts": 0, **row.settings}  # calls of attempts alone, so that equal attempts are equal calls
    request = Request(num, sampler_config(model, settings), seed, targets=targets, selector=selector)
    with progress_bar(row.title, num * max(row.best_of, row.attempts)) as progress:
        if row.attempts:
            order = MatchOrder(max_attempts=num * row.attempts)
            matches = match_wishes(model, prepare(model, request), order, progress)
            return matches.molecules, matches.ledger.calls + matches.ledger.surplus_calls
        molecules = fulfil(model, request.each(row.best_of), progress)
    if row.best_of > 1:
        molecules = best_of(molecules, row.best_of, selector)
    return molecules, int(molecules.properties["nfe"].sum())


def measure(
    model: Checkpoint, selector: Judge, judge: Judge, row: Row, wishes: Targets, seed: int
) -> list[dict[str, Any]]:
    """The figures of a row, for each property."""
    start, num = cpu_seconds(), len(wishes.rows)
    molecules, calls = made(model, selector, row, wishes, seed)
    seconds = cpu_seconds() - start
    figures = {
        **measured_setting(row.title, {}, evaluate_published(molecules)).to_json(),
        "met": len(molecules) / num,
        "calls": calls / num,
        "seconds": seconds / num,
    }
    return [
        {
            "asked": verdict.name,
            **figures,
            "error": verdict.error,
            "error_interval": mean_interval(np.abs(verdict.asked - verdict.achieved)),
            "bound": verdict.bound,
            "shuffled": shuffled_error(verdict.asked, verdict.achieved),
        }
        for verdict in judged(molecules, judge)
    ]


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def shuffled_error(asked: NDArray[np.float64], achieved: NDArray[np.float64]) -> float:
    """The error if each wish had been given the molecule of any other one."""
    apart = np.abs(asked[:, None] - achieved)
    return float((apart.sum() - np.trace(apart)) / (len(asked) * (len(asked) - 1)))


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; errors in the unit of their property."""
    lines = [TITLES]
    for row in rows:
        low, high = row["error_interval"]
        asked = f"{row['asked']}, {unit_of(row['asked']).symbol}"
        shares = [f"{100 * row[name]:.1f}" for name in ("molecule_stability", "validity_x_uniqueness", "met")]
        cost = [f"{row['calls']:.0f}", f"{row['seconds']:.2f}"]
        error = f"{row['error']:.4g} ({low:.4g}–{high:.4g})"
        lines.append([row["setting"], asked, error, f"{row['shuffled']:.4g}", *shares, *cost])
    return table(lines)


def main(  # noqa: PLR0913 (wishes, who meets them, and who judges)
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.KEY=VALUE … of a row of your own.")] = None,
    *,
    asked: Annotated[list[str], typer.Option(help="Properties of the wishes, all of them of each.")],
    attempts: Annotated[int, typer.Option(min=1, help="For each wish, in a row of your own.")] = 4,
    sized: Annotated[bool, typer.Option("--sized", help="Wishes have sizes, too.")] = False,
    checkpoint: Annotated[str, typer.Option(help="A conditional model, name or folder.")] = "qm9-small-cond",
    selector: Annotated[str | None, typer.Option(help="Who chooses; the bundled one if not given.")] = None,
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    only: Annotated[list[str] | None, typer.Option(help=f"Rows, of {', '.join(ROWS)}; all if not given.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Wishes.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps a file per finished row.")] = Path("runs/matching"),
) -> None:
    """Measure the missing rows, then print the table."""
    tune_cpu(1)
    model, judging = load_checkpoint(checkpoint), load_judge(judge)
    chooser = selector_of(model, tuple(asked), load_judge(selector) if selector else None)
    assert chooser is not None, "wishes for numbers of atoms alone need no judge"
    folder = work / f"{model.fingerprint()}-{chooser.fingerprint}-{judging.fingerprint}-{num}-{seed}"
    rows = {key: ROWS[key] for key in only or ROWS}
    if overrides:
        own = sampler_settings(parse_overrides(overrides))
        title = f"matched, {attempts} attempts, {', '.join(f'{key}={value}' for key, value in own.items())}"
        rows = {f"match-{attempts}-{'-'.join(map(str, own.values()))}": Row(title, attempts=attempts, settings=own)}
    done: list[dict[str, Any]] = []
    wishes = drawn(model, asked, num, seed, sized)
    for key, row in rows.items():
        path = folder / f"{'-'.join(asked)}-{'sized-' if sized else ''}{key}.json"
        done += kept(path, partial(measure, model, chooser, judging, row, wishes, seed))
    typer.echo(as_table(done))
    bounds = dict.fromkeys(f"{row['asked']} {row['bound']:.3g}" for row in done)
    typer.echo(f"\n{num:,} wishes; the judge's own error: {', '.join(bounds)}")


if __name__ == "__main__":
    with report_user_errors("matching"):
        typer.run(main)
