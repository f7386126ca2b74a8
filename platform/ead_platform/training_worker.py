"""What every worker of a data-parallel training does: the core's own `fit`, and Ray Train's storage around it."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
from torch import distributed

from ead_core.cpu import tune_cpu
from ead_core.errors import EADError
from ead_core.training.fit import fit
from ead_core.training.parallel import Workers
from ead_core.training.progress import steps_done
from ead_core.training.session import Session, evaluation, prepare
from ead_platform.addresses import accept_addresses
from ead_platform.recipe import Recipe


def train_worker(job: dict[str, Any]) -> Any:
    """What every worker does; rank 0's answer is the run's: steps done, or why it was refused.

    A user's mistake is an answer and not an exception, because Ray Train would try the same again.
    """
    accept_addresses()
    os.environ["MLFLOW_TRACKING_URI"] = job["store"]
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

    check = evaluation(config, session, directory)
    try:
        fit(config, session.train, session.statistics, directory, _report, check, published)
    except EADError as error:
        told = str(error).replace(str(directory), recipe.place).replace("another folder", "another platform.name")
        return {"refused": told}
    return {"steps": steps_done(directory)} if leads else {}


def prepare_together(recipe: Recipe) -> tuple[Session | None, str]:
    """Every worker's data, or the first reason why one of them has none."""
    session, refusal = None, ""
    try:
        session = prepare(recipe.core)
    except EADError as error:
        refusal = str(error)
    refusals: list[str] = [""] * Workers.joined().size
    distributed.all_gather_object(refusals, refusal)
    first = next((text for text in refusals if text), "")
    return (None if first else session), first


def _report(row: Mapping[str, Any]) -> None:
    ray.train.report(dict(row))
