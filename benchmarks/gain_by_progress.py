"""Does what pauses gain shrink as a model gets better? The gain at several points of one training.

    python benchmarks/gain_by_progress.py network.hidden_features=64 network.layers=5

One training at a constant rate; its averaged weights are copied after given numbers of steps. Each copy samples the
same ids from the same noise: synchronously, with the adaptive schedule, and with pauses of whole molecules by chance at
as many network calls (`together`), on 100 quadratic first-order steps. How good a copy is, its held-out loss says.

A gain in points must be small where nearly all molecules are stable, and where nearly none are. So the question is
asked of the share of failures that pauses mend: stable molecules gained over those that are not stable synchronously.

Fixed before anything was measured: the gain shrinks if the share that the adaptive schedule mends at the last point,
minus that at the first point at which 10 % are stable synchronously, lies below 0 with its interval; it grows if that
lies above 0; else it cannot be told. The same is asked of `together`. Whether asynchrony has a part in it is the column
"adaptive − together".

What is finished is kept in the work folder, and the training is resumed there.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from ead_platform.sweep.study import Campaign
from held_out_loss import losses
from kept import kept
from numpy.typing import NDArray
from quality_figures import heading, line, percent
from resampled import ratios, with_interval
from schedules import measure
from schedules_rows import SYNCHRONOUS, Row, main_rows
from schedules_work import shared_prefix
from training_arms import RECIPE
from trainings import trained

from ead_core.checkpoints.checkpoint import CONFIG, STATISTICS, WEIGHTS, Checkpoint, load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.common.files import write_aside
from ead_core.common.intervals import paired_difference, wilson
from ead_core.config import Config, load_config, parse_overrides
from ead_core.data.store import MoleculeSet, load_npz
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.difference import Difference
from ead_core.evaluation.stability import stability
from ead_core.training.progress import steps_done
from ead_core.training.session import Session, prepare

POINTS = (500, 1000, 2000, 4000, 8000)
COMMON = {
    "training.decay_fraction": 0,
    "training.evaluate_molecules": 0,
    "sampler.steps": 100,
    "sampler.grid": "quadratic",
    "sampler.solver": "ancestral",
}
PAUSING = ("adaptive-repeat", "together-repeat")
PAIRS = (*((SYNCHRONOUS, name) for name in PAUSING), PAUSING[::-1])
STABLE = 0.1  # share of the molecules from which on failures are counted
Flags = NDArray[np.bool_]


class Point(NamedTuple):
    """What is measured of a copy: its loss, calls by row, stable atoms synchronously, and stable molecules by row."""

    loss: float
    calls: str
    atoms: float
    stable: Mapping[str, Flags]


def copied(config: Config, session: Session, work: Path, steps: int) -> Path:
    """The folder of the checkpoint after so many steps; trained up to there if there is none.

    Raises:
        ConfigError: the training is past them already.
    """
    copy, folder = work / f"step-{steps}", work / "training"
    if (copy / WEIGHTS).is_file():
        return copy
    trained(config.override({"training.steps": steps}), session, folder)
    if steps_done(folder) != steps:
        raise ConfigError(f"{folder} is at step {steps_done(folder)}, past {steps}; choose another --work.")
    for name in (CONFIG, STATISTICS, WEIGHTS):  # the last one says that all are there
        with write_aside(copy / name) as aside:
            shutil.copyfile(folder / name, aside)
    return copy


def sampled(model: Checkpoint, rows: Sequence[Row], num: int, folder: Path) -> dict[str, MoleculeSet]:
    """The molecules of every row; those that are missing are made."""
    campaign = Campaign(model, 0, 0, num, threads=1)
    if missing := [row for row in rows if not (folder / f"{row.name}.json").is_file()]:
        indices = {0, *(campaign.branch_index(row.settings) for row in rows)}
        prefix = shared_prefix(campaign, indices, folder / "prefix", 1)
        for row in missing:
            measure(campaign, prefix, row, num, folder, 1)
    return {row.name: load_npz(folder / f"{row.name}.npz") for row in rows}


def measured(folder: Path, held_out: MoleculeSet, batches: int, num: int) -> Point:
    """What is measured of a copy; what has been is in its folder."""
    rows = [row for row in main_rows() if row.name in {SYNCHRONOUS, *PAUSING}]
    model = load_checkpoint(folder)
    loss = kept(folder / f"held-out-{batches}.json", lambda: float(losses(model, held_out, batches)[0].mean()))
    made = sampled(model, rows, num, folder / str(num))
    calls = " / ".join(f"{molecules.properties['nfe'].mean():.0f}" for molecules in made.values())
    found = {name: stability(molecules) for name, molecules in made.items()}
    return Point(loss, calls, found[SYNCHRONOUS].atom_stability, {name: one.stable for name, one in found.items()})


def mended(stable: Mapping[str, Flags], name: str) -> NDArray[np.float64]:
    """Share of the failures of the synchronous row that a row mends, less what it breaks [1 + draws]."""
    before = stable[SYNCHRONOUS]
    found: NDArray[np.float64] = ratios(stable[name] * 1.0 - before, 1.0 - before)
    return found


def share(values: NDArray[np.float64], sign: str = "") -> str:
    """In percent, with its interval."""
    value, low, high = (100 * end for end in with_interval(values))
    return f"{value:{sign}.0f} ({low:{sign}.0f} to {high:{sign}.0f})"


def table(points: Mapping[int, Point]) -> Iterator[str]:
    """A line per point."""
    pairs = [f"{name} − {other}, points" for other, name in PAIRS]
    mends = [f"failures mended by {name}, %" for name in PAUSING]
    yield heading(["steps", "held-out loss", "calls", "atoms stable %", "stable % (synchronous)", *pairs, *mends])
    for steps, point in points.items():
        flags = point.stable[SYNCHRONOUS]
        whole = percent((flags.mean(), wilson(int(flags.sum()), len(flags))))
        gains = (paired_difference(point.stable[other], point.stable[name]) for other, name in PAIRS)
        found = [Difference(gain.difference, gain.interval, gain.p_value, len(flags)).points() for gain in gains]
        shares = [share(mended(point.stable, name)) for name in PAUSING]
        yield line([str(steps), f"{point.loss:.4f}", point.calls, f"{100 * point.atoms:.1f}", whole, *found, *shares])


def answers(points: Mapping[int, Point]) -> Iterator[str]:
    """What was asked beforehand, if there are two points to compare."""
    counted = [steps for steps, point in points.items() if point.stable[SYNCHRONOUS].mean() >= STABLE]
    for name in PAUSING if len(counted) > 1 else ():
        first, last = counted[0], counted[-1]
        change = mended(points[last].stable, name) - mended(points[first].stable, name)
        yield f"\nFailures mended by {name}, step {last} minus step {first}: {share(change, '+')} points"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value … of the recipe.")] = None,
    *,
    point: Annotated[list[int] | None, typer.Option(min=1, help="Optimiser steps; may be repeated.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 1000,
    batches: Annotated[int, typer.Option(min=1, help="Of 64 held-out molecules.")] = 80,
    work: Annotated[Path, typer.Option(help="Keeps training, copies and molecules.")] = Path("runs/gain-by-progress"),
) -> None:
    """Train and sample what is missing, then print the table."""
    tune_cpu(1)
    config = load_config(RECIPE).override({**COMMON, **parse_overrides(overrides or [])})
    session = prepare(config)
    points = {
        steps: measured(copied(config, session, work, steps), session.valid, batches, num)
        for steps in sorted(point or POINTS)
    }
    for text in (*table(points), *answers(points)):
        typer.echo(text)


if __name__ == "__main__":
    with report_user_errors("gain_by_progress"):
        typer.run(main)
