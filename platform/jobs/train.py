"""Train on Ray: `python platform/jobs/train.py configs/demo.yaml [key=value …]`.

The core's own training loop runs on `platform.num_workers` data-parallel workers, on this machine or on the cluster
of RAY_ADDRESS. Checkpoints go to `platform.storage_path`, figures to MLflow. The same command continues a run;
`--reproduce RUN` repeats one that MLflow knows and says whether the results agree.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from ead_platform.cluster.session import expect_cluster, ray_session
from ead_platform.cluster.settings import Settings
from ead_platform.tracking.store import open_store, where_to_compare
from ead_platform.training.final_card import has_card, write_card
from ead_platform.training.recipe import Recipe
from ead_platform.training.reproduction import Original, find_original, judge, other_code, repeated
from ead_platform.training.run import TrainingRun, only_training, require_capacity, require_same_run, require_storage
from ead_platform.training.tracking import TrainingTracker
from ray.train import TrainingFailedError

from ead_core.cli.console import TrainingBar
from ead_core.errors import ConfigError, one_line, report_user_errors

INTERRUPTED, FAILED = 130, 1
app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="RECIPE.yaml [section.key=value]...", show_default=False)
    ] = None,
    reproduce: Annotated[
        str | None, typer.Option(metavar="RUN", help="Repeat this MLflow run (name or id) instead of a recipe.")
    ] = None,
) -> None:
    """Train a model with data-parallel workers; the same command continues an interrupted run."""
    settings = Settings.from_environment()
    expect_cluster(settings)
    original = find_original(settings, reproduce) if reproduce else None
    job = _repetition(original, arguments or [], settings) if original else _recipe(arguments or [], settings)
    require_storage(job)
    with only_training(job):
        require_same_run(job)
        tracker = TrainingTracker(settings, job)
        try:
            steps = _train(job, settings, tracker)
            if steps == job.training.steps:
                _evaluate(job, tracker)
        except KeyboardInterrupt:
            typer.echo("\nStopped; the same command goes on.", err=True)
            sys.exit(INTERRUPTED)
    typer.echo(where_to_compare(settings), err=True)
    if original and steps == job.training.steps:
        _show_verdict(settings, original, tracker)


def _recipe(arguments: list[str], settings: Settings) -> Recipe:
    """The recipe of the command line (ConfigError if there is none)."""
    if not arguments:
        raise ConfigError("give a recipe, e.g. configs/demo.yaml, or a run with --reproduce.")
    path = Path(arguments[0])
    return Recipe.load(path, arguments[1:]).located(path.stem, settings)


def _repetition(original: Original, overrides: list[str], settings: Settings) -> Recipe:
    """The recipe that repeats a run; says what is not as it was."""
    job = repeated(original, overrides, settings)
    for difference in other_code(original):
        typer.echo(f"note: {difference}", err=True)
    return job


def _train(job: Recipe, settings: Settings, tracker: TrainingTracker) -> int:
    """Train on a cluster; the steps done."""
    with ray_session(settings):
        require_capacity(job)
        typer.echo(f"workers: {job.platform.num_workers} → {job.place}", err=True)
        try:
            with TrainingRun(job, tracker, TrainingBar(job.training.steps)) as run:
                steps = run.train()
        except TrainingFailedError as error:
            typer.echo(f"train: the workers failed ({one_line(error)}).", err=True)
            sys.exit(FAILED)
    typer.echo(f"{job.model} holds the model at step {steps} of {job.training.steps}.", err=True)
    if steps < job.training.steps:
        typer.echo("The same command continues it.", err=True)
    return steps


def _evaluate(job: Recipe, tracker: TrainingTracker) -> None:
    """Make the card that is wanted, unless it is there and the model is still the one that it is of."""
    if job.card_molecules and (tracker.run_id or not has_card(job)):
        typer.echo(f"making {job.card_molecules} molecules for the card; Ctrl-C puts it off", err=True)
        typer.echo(f"card → {write_card(job, tracker)}", err=True)


def _show_verdict(settings: Settings, original: Original, tracker: TrainingTracker) -> None:
    """Say whether the repetition agrees; exit code 1 if not."""
    with open_store(settings):
        run_id = tracker.open()
    verdict = judge(settings, original, run_id)
    typer.echo(f"{original.name}-reproduced {verdict.sentence}.")
    if not verdict.agrees:
        sys.exit(FAILED)


if __name__ == "__main__":
    with report_user_errors("train"):
        app()
