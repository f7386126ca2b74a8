"""Train on Ray: `python platform/jobs/train.py configs/demo.yaml [key=value …]`.

The core's own training loop runs on `platform.num_workers` data-parallel workers, on this machine or on the cluster
of RAY_ADDRESS. Checkpoints go to `platform.storage_path`, figures to MLflow. The same command continues a run.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from ead_platform.cluster import ray_session
from ead_platform.recipe import Recipe
from ead_platform.settings import Settings
from ead_platform.tracking import TrainingTracker
from ead_platform.training import TrainingRun, require_capacity, require_storage
from ray.train import TrainingFailedError

from ead_core.console import TrainingBar
from ead_core.errors import one_line, told_in_one_sentence

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, e.g. configs/demo.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value …")] = None,
) -> None:
    """Train a model with data-parallel workers; the same command continues an interrupted run."""
    settings = Settings.from_environment()
    job = Recipe.load(recipe, overrides or []).located(recipe.stem, settings)
    require_storage(job)
    with ray_session(settings):
        require_capacity(job)
        run = TrainingRun(job, TrainingTracker(settings, job), TrainingBar(job.training.steps))
        typer.echo(f"workers: {job.platform.num_workers} → {job.place}", err=True)
        try:
            with run:
                steps = run.train()
        except KeyboardInterrupt:
            typer.echo("\nStopped; the same command continues from the last checkpoint.", err=True)
            sys.exit(130)
        except TrainingFailedError as error:
            typer.echo(f"train: the workers failed ({one_line(error)}).", err=True)
            sys.exit(1)
    typer.echo(f"{run.model} holds the model at step {steps} of {job.training.steps}.", err=True)
    if steps < job.training.steps:
        typer.echo("The same command continues it.", err=True)
    typer.echo(f"compare the runs with `make ui`, or: {settings.ui_hint}", err=True)


if __name__ == "__main__":
    with told_in_one_sentence("train"):
        app()
