"""What every worker of a data-parallel training does: the core's own `fit`, and Ray Train's storage around it."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray.train

from ead_core.checkpoints.checkpoint import Checkpoint, new_denoiser
from ead_core.common.cpu import tune_cpu
from ead_core.data.dataset import Statistics
from ead_core.errors import EADError, OutputError, one_line
from ead_core.notes import noted
from ead_core.sampling.build import build_process
from ead_core.training.fit import Report, fit
from ead_core.training.objectives import evaluation
from ead_core.training.parallel import Workers
from ead_core.training.progress import BEFORE, steps_done
from ead_core.training.quality import PICTURE
from ead_core.training.session import Session, prepare
from ead_platform.registry.addresses import accept_addresses
from ead_platform.tracking.provenance import about_session, machine
from ead_platform.training.recipe import Recipe
from ead_platform.training.state import fetch_newest_whole


def train_worker(job: dict[str, Any]) -> Any:
    """What every worker does; rank 0's answer is the run's: steps done, or why it was refused.

    A user's mistake is an answer and not an exception, because Ray Train would try the same again.
    """
    accept_addresses()
    os.environ["MLFLOW_TRACKING_URI"] = job["store"].get_secret_value()
    recipe = Recipe(**job["recipe"])
    tune_cpu(recipe.training.threads or recipe.platform.cpus_per_worker)
    with tempfile.TemporaryDirectory(prefix="ead-") as scratch:
        return _train(recipe, Path(scratch, str(recipe.platform.name)))


def _train(recipe: Recipe, directory: Path) -> dict[str, Any]:
    """The work itself, in an empty folder of this worker."""
    config, workers = recipe.core, Workers.joined()
    notes: list[str] = []

    def published(directory: Path) -> None:
        workers.together(lambda: _publish(directory, recipe, workers.leads))

    try:
        notes += fetch_newest_whole(recipe.place, directory, workers)
        session = workers.together(lambda: prepared(recipe))
        report = reporter(about_session(config, session, workers.gather(machine())), directory / PICTURE, notes)
        check = evaluation(config, session, directory)
        with noted(lambda note: notes.append(recipe.reworded(note, str(directory)))):
            fit(config, session.train, session.statistics, directory, report, check, published)
    except EADError as error:
        return {"refused": recipe.reworded(str(error), str(directory))}
    return {"steps": steps_done(directory)} if workers.leads else {}


def prepared(recipe: Recipe) -> Session:
    """This worker's data (DataError), and that molecules of the model can be made with the recipe (ConfigError)."""
    session = prepare(recipe.core)
    _require_sampler(recipe, session.statistics)
    return session


def _require_sampler(recipe: Recipe, statistics: Statistics) -> None:
    """Refuse before a training what its card would fail for after it.

    Raises:
        ConfigError: the sampler section does not fit the model.
    """
    if recipe.card_molecules:
        model = Checkpoint(str(recipe.platform.name), recipe.core, statistics, new_denoiser(recipe, statistics))
        build_process(model, recipe.sampler, max(statistics.sizes))


def _publish(directory: Path, recipe: Recipe, leads: bool) -> None:
    """Hand a checkpoint to Ray Train, which copies it into the storage (OutputError if there is no room)."""
    (directory / BEFORE).unlink(missing_ok=True)  # the storage keeps the checkpoint before this one
    try:
        ray.train.report({}, checkpoint=ray.train.Checkpoint.from_directory(directory) if leads else None)
    except OSError as error:
        raise OutputError(f"cannot write a checkpoint to {recipe.place} ({one_line(error)}).") from error


def reporter(about: Mapping[str, Any], picture: Path, notes: Sequence[str] = ()) -> Report:
    """Sends reports to the driver: the first with what the run rests on, those of a quality check with its picture.

    Args:
        about: of this run (provenance.py).
        picture: where the first worker's quality check draws what it has sampled.
        notes: sentences about its start, shown with the first report.
    """
    first: dict[str, Any] = {"about": dict(about)}

    def report(row: Mapping[str, Any]) -> None:
        checked = "molecule_stability" in row and picture.is_file()
        if first and notes:
            first["notes"] = list(notes)
        ray.train.report({**row, **first, **({"picture": picture.read_bytes()} if checked else {})})
        first.clear()

    return report
