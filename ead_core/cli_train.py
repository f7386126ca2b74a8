"""`ead train`: a recipe, a data file and a folder in; a resumable run and a checkpoint out."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ead_core.console import new_progress

LOG = "metrics.jsonl"
LINE_SECONDS = 60  # between lines of a log file, where no bar is drawn
console = Console(stderr=True)


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, e.g. configs/demo.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value …")] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint folder; a run found there is resumed.")] = Path("runs/train"),
) -> None:
    """Train a model. Ctrl-C saves and stops; the same command resumes."""
    from ead_core.config import load_config
    from ead_core.cpu import tune_cpu
    from ead_core.training.fit import fit
    from ead_core.training.progress import steps_done
    from ead_core.training.session import prepare, quality_check

    config = load_config(recipe, overrides or [])
    tune_cpu(config.training.threads)
    session = prepare(config)
    elements = ", ".join(session.atom_types.symbols)
    typer.echo(f"{session.statistics.num_molecules} training molecules of {elements} → {out}", err=True)
    with RunLog(out, config.training.steps) as log:
        check = quality_check(config, session.statistics, out)
        fit(config, session.train, session.statistics, out, log, check)
    step = steps_done(out)
    typer.echo(f"{out} holds the checkpoint at step {step} of {config.training.steps}.", err=True)
    if step < config.training.steps:
        typer.echo("The same command continues it.", err=True)


class RunLog:
    """Shows a progress bar and appends every report to `metrics.jsonl` in the run's folder.

    Args:
        directory: of the run.
        steps: optimiser steps planned.
    """

    def __init__(self, directory: Path, steps: int) -> None:
        self._path, self._steps = directory / LOG, steps
        self._bar = new_progress(console)
        self._said = time.monotonic()

    def __enter__(self) -> "RunLog":
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._steps)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Record one report."""
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if "loss" in row:
            text = f"loss {row['loss']:.4f}  {row['molecules_per_second']:.0f} molecules/s"
            self._bar.update(self._task, completed=row["step"], description=text)
            if not console.is_terminal and time.monotonic() - self._said > LINE_SECONDS:
                self._said = time.monotonic()
                console.print(f"step {row['step']} of {self._steps}  {text}")
        if "molecule_stability" in row:
            atoms, molecules = 100 * row["atom_stability"], 100 * row["molecule_stability"]
            console.print(f"step {row['step']}: stable atoms {atoms:.1f} %, molecules {molecules:.1f} %")
