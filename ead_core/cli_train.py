"""`ead train`: a recipe, a data file and a folder in; a resumable run and a checkpoint out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG = "metrics.jsonl"
console = Console(stderr=True)


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, e.g. configs/demo.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value …")] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint folder; a run found there is resumed.")] = Path(
        "runs/train"
    ),
) -> None:
    """Train a model. Ctrl-C saves and stops; the same command resumes."""
    from ead_core.config import load_config
    from ead_core.cpu import tune_cpu
    from ead_core.training.session import prepare, quality_check
    from ead_core.training.fit import fit

    config = load_config(recipe, overrides or [])
    tune_cpu(config.training.threads)
    session = prepare(config)
    console.print(
        f"{session.statistics.num_molecules} training molecules of {', '.join(session.atom_types.symbols)} → {out}"
    )
    with RunLog(out, config.training.steps) as log:
        fit(config, session.train, session.statistics, out, log, quality_check(config, session.statistics))
    console.print(f"{out} holds the checkpoint at step {log.step} of {config.training.steps}.")
    if log.step < config.training.steps:
        console.print("The same command continues it.")


class RunLog:
    """Shows a progress bar and appends every report to `metrics.jsonl` in the run's folder.

    Args:
        directory: of the run.
        steps: optimiser steps planned.
    """

    def __init__(self, directory: Path, steps: int) -> None:
        self.step = 0
        self._path, self._steps = directory / LOG, steps
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)

    def __enter__(self) -> "RunLog":
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._steps)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Record one report."""
        self.step = int(row["step"])
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if "loss" in row:
            text = f"loss {row['loss']:.4f}  {row['molecules_per_second']:.0f} molecules/s"
            self._bar.update(self._task, completed=self.step, description=text)
        if "molecule_stability" in row:
            quality = f"atoms {100 * row['atom_stability']:.1f} %, molecules {100 * row['molecule_stability']:.1f} %"
            console.print(f"step {self.step}: stable {quality}")
