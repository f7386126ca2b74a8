"""Molecules with wanted properties by choice: whole candidates beside branches, at how many network calls.

    python benchmarks/choice.py --asked gap --num 256
    python benchmarks/choice.py --asked gap --num 256 sampler.branches=24 sampler.steps=25      # one row of your own

Values and sizes of training molecules are asked for, as in guidance.py. Whoever chooses has learnt from the generator's
half of the labels, and the judge from the other. Errors are over all delivered molecules, valid or not. A finished row
is a file in the work folder, so the command goes on where it was.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from kept import kept
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
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
from ead_core.sampling.requests import Request, sampler_config

TITLES = ["candidates", "asked for", "error (95 %)", "targets shuffled", "stable %", "V×U %", "calls", "s"]


class Row(NamedTuple):
    """How candidates are made: whole ones, or branches by sampler settings."""

    title: str
    best_of: int = 1
    settings: Mapping[str, Any] = {}


def branched(number: int, level: float, **more: Any) -> dict[str, Any]:
    """Settings of branches from a share of the noise levels."""
    return {"branches": number, "branch_level": level, **more}


ROWS = {
    "plain": Row("one"),
    **{f"whole-{number}": Row(f"{number} whole", number) for number in (4, 8)},
    **{
        f"branches-{number}-{level:g}": Row(f"{number} branches from {level:g} T", 1, branched(number, level))
        for level in (0.35, 0.25)
        for number in (4, 8, 12, 16)
    },
    "branches-24": Row("24 branches from 0.35 T", 1, branched(24, 0.35)),
    "guided": Row("one, ω 5", 1, {"guidance": 5.0}),
    "guided-branches-8": Row("8 branches from 0.35 T, ω 5", 1, branched(8, 0.35, guidance=5.0)),
}


def chosen_rows(only: Sequence[str] | None, overrides: Sequence[str]) -> dict[str, Row]:
    """Rows by the name of their file: those of a list, the one of the settings given, or all."""
    if overrides:
        own = sampler_settings(parse_overrides(overrides))
        title = ", ".join(override.removeprefix("sampler.") for override in sorted(overrides))
        return {title.replace("/", "_"): Row(title, 1, own)}
    return {key: ROWS[key] for key in only or ROWS}


def drawn(model: Checkpoint, asked: str, num: int, seed: int) -> Targets:
    """A value and a size for each molecule, of a training molecule each; the same ones for every row."""
    seen = model.statistics.properties[asked]
    anything = Targets.of({asked: (seen.smallest, seen.largest)})
    start = decide(model, seed, torch.arange(num), None, anything)
    rows = tuple(((value, value),) for value in start.values[asked].tolist())
    return Targets((asked,), rows, tuple(start.sizes.tolist()))


def measure(
    model: Checkpoint, selector: Judge | None, judge: Judge, row: Row, asked: str, num: int, seed: int
) -> dict[str, Any]:
    """The figures of a row."""
    targets, chooses = drawn(model, asked, num, seed), row.settings.get("branches", 1) > 1
    request = Request(
        num, sampler_config(model, row.settings), seed, targets=targets, selector=selector if chooses else None
    )
    with progress_bar(f"{asked}, {row.title}", num * row.best_of) as progress:
        molecules = fulfil(model, request.each(row.best_of), progress)
    if row.best_of > 1:
        molecules = best_of(molecules, row.best_of, selector)
    measured = measured_setting(row.title, {}, evaluate_published(molecules)).to_json()
    return {"asked": asked, **measured, **_error(molecules, judge, asked)}


def _error(molecules: MoleculeSet, judge: Judge, asked: str) -> dict[str, Any]:
    (verdict,) = judged(molecules, judge)
    shuffled = shuffled_error(verdict.asked, verdict.achieved, molecules.num_atoms)
    return {"error": verdict.error, "error_interval": verdict.interval, "bound": verdict.bound, "shuffled": shuffled}


def shuffled_error(asked: NDArray[np.float64], achieved: NDArray[np.float64], sizes: NDArray[Any]) -> float:
    """The error if each molecule had been asked for the target of any other one of its size: control by size alone."""
    pairs = (sizes[:, None] == sizes) & ~np.eye(len(sizes), dtype=bool)
    return float(np.abs(asked[:, None] - achieved)[pairs].mean())


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; errors in the unit of their property."""
    lines = [TITLES]
    for row in rows:
        low, high = row["error_interval"]
        error = f"{row['error']:.4g} ({low:.4g}–{high:.4g})"
        shares = [f"{100 * row[name]:.1f}" for name in ("molecule_stability", "validity_x_uniqueness")]
        cost = [f"{row['nfe_per_molecule']:.0f}", f"{row['seconds_per_molecule']:.2f}"]
        asked = f"{row['asked']}, {unit_of(row['asked']).symbol}"
        lines.append([row["setting"], asked, error, f"{row['shuffled']:.4g}", *shares, *cost])
    return table(lines)


def main(  # noqa: PLR0913, PLR0917
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.KEY=VALUE …: one row of these.")] = None,
    checkpoint: Annotated[str, typer.Option(help="A conditional model, name or folder.")] = "qm9-small-cond",
    selector: Annotated[str | None, typer.Option(help="Who chooses; the bundled one if not given.")] = None,
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    asked: Annotated[list[str] | None, typer.Option(help="Properties; all of the judge if not given.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Rows, of {', '.join(ROWS)}; all if not given.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Molecules per row.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps a file per finished row.")] = Path("runs/choice"),
) -> None:
    """Measure the missing rows, then print the table."""
    tune_cpu(1)
    model, judging = load_checkpoint(checkpoint), load_judge(judge)
    given, done, rows = load_judge(selector) if selector else None, [], chosen_rows(only, overrides or [])
    for name in asked or list(judging.statistics.properties):
        chooser = selector_of(model, (name,), given)
        prints = f"{model.fingerprint()}-{chooser.fingerprint if chooser else ''}-{judging.fingerprint}"
        folder = work / f"{prints}-{num}-{seed}"
        for key, row in rows.items():
            path = folder / f"{name}-{key}.json"
            done.append(kept(path, partial(measure, model, chooser, judging, row, name, num, seed)))
    typer.echo(as_table(done))
    typer.echo(f"\n{num:,} molecules a row; the judge's own error: {_bounds(done)}")


def _bounds(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(f"{row['asked']} {np.float64(row['bound']):.3g}" for row in rows))


if __name__ == "__main__":
    with report_user_errors("choice"):
        typer.run(main)
