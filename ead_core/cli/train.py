"""`ead train`: a recipe, a data file and a folder in; a resumable run and a checkpoint out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ead_core.cli.console import TrainingBar

LOG = "metrics.jsonl"


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, e.g. configs/demo.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value …")] = None,
    out: Annotated[Path, typer.Option(help="Checkpoint folder; a run found there is resumed.")] = Path("runs/train"),
) -> None:
    """Train a model. Ctrl-C saves and stops; the same command resumes."""
    from ead_core.common.cpu import tune_cpu
    from ead_core.config import load_config
    from ead_core.training.best import load_best
    from ead_core.training.cores import fit_on_cores, own_threads
    from ead_core.training.progress import steps_done
    from ead_core.training.session import prepare

    config = load_config(recipe, overrides or [])
    tune_cpu(own_threads(config.training))
    session = prepare(config)
    elements = ", ".join(session.atom_types.symbols)
    typer.echo(f"{session.statistics.num_molecules} training molecules of {elements} → {out}", err=True)
    conditions = ", ".join(f"{name} ({seen.labels} labels)" for name, seen in session.statistics.properties.items())
    if conditions:
        typer.echo(f"conditioned on {conditions}", err=True)
    with TrainingBar(config.training.steps) as bar:
        fit_on_cores(config, session, out, logged(bar, out / LOG))
    step = steps_done(out)
    typer.echo(f"{out} holds the checkpoint at step {step} of {config.training.steps}.", err=True)
    best = load_best(out, config.training, step)
    if best.waited(config.training, step):
        typer.echo(f"It has not got better since step {best.step}, whose weights these are.", err=True)
    elif step < config.training.steps:
        typer.echo("The same command continues it.", err=True)


def logged(show: Callable[[Mapping[str, Any]], None], path: Path) -> Callable[[Mapping[str, Any]], None]:
    """A report function that shows every row and appends it to a file of JSON lines."""

    def report(row: Mapping[str, Any]) -> None:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        show(row)

    return report
