"""What every worker of a data-parallel training does: the core's own `fit`, and Ray Train's storage around it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
from torch import distributed

from ead_core.cpu import tune_cpu
from ead_core.errors import EADError
from ead_core.training.fit import Report, fit
from ead_core.training.parallel import Workers
from ead_core.training.progress import steps_done
from ead_core.training.session import PICTURE, Session, evaluation, prepare
from ead_platform.final_card import require_sampler
from ead_platform.provenance import about_session, machine
from ead_platform.recipe import Recipe


def train_worker(job: dict[str, Any]) -> Any:
    """What every worker does; rank 0's answer is the run's: steps done, or why it was refused.

    A user's mistake is an answer and not an exception, because Ray Train would try the same again.
    """
    recipe = Recipe(**job["recipe"])
    tune_cpu(recipe.training.threads or recipe.platform.cpus_per_worker)
    with tempfile.TemporaryDirectory(prefix="ead-") as scratch:
        return _train(recipe, Path(scratch, str(recipe.platform.name)))


def _train(recipe: Recipe, directory: Path) -> dict[str, Any]:
    """The work itself, in an empty folder of this worker."""
    before = ray.train.get_checkpoint()
    if before is not None:
        before.to_directory(directory)
    session, refusal = prepare_together(recipe)
    if session is None:
        return {"refused": refusal}
    config, leads = recipe.core, Workers.joined().leads

    def published(directory: Path) -> None:
        checkpoint = ray.train.Checkpoint.from_directory(directory) if leads else None
        ray.train.report({}, checkpoint=checkpoint)

    try:
        report = reporter(about_session(config, session, _gathered(machine())), directory / PICTURE)
        check = evaluation(config, session, directory)
        fit(config, session.train, session.statistics, directory, report, check, published)
    except EADError as error:
        told = str(error).replace(str(directory), recipe.place).replace("another folder", "another platform.name")
        return {"refused": told}
    return {"steps": steps_done(directory)} if leads else {}


def prepare_together(recipe: Recipe) -> tuple[Session | None, str]:
    """Every worker's data, or the first reason why one of them has none."""
    session, refusal = None, ""
    try:
        session = prepare(recipe.core)
        require_sampler(recipe, session.statistics)
    except EADError as error:
        refusal = str(error)
    refusals = _gathered(refusal)
    first = next((text for text in refusals if text), "")
    return (None if first else session), first


def _gathered(mine: Any) -> list[Any]:
    """What every worker has, by rank."""
    all_of_them: list[Any] = [None] * Workers.joined().size
    distributed.all_gather_object(all_of_them, mine)
    return all_of_them


def reporter(about: Mapping[str, Any], picture: Path) -> Report:
    """Sends reports to the driver: the first with what the run rests on, those of a quality check with its picture.

    Args:
        about: of this run (provenance.py).
        picture: where the first worker's quality check draws what it has sampled.
    """
    first: dict[str, Any] = {"about": dict(about)}

    def report(row: Mapping[str, Any]) -> None:
        checked = "molecule_stability" in row and picture.is_file()
        ray.train.report({**row, **first, **({"picture": picture.read_bytes()} if checked else {})})
        first.clear()

    return report
