"""Data-parallel training on Ray Train: one run, from a recipe to a model in shared storage and a run in MLflow.

A run is a name in a storage path. Its newest whole checkpoint is found there, so that the same command continues an
interrupted run, on the same cluster or on another.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from pyarrow import ArrowException
from pyarrow.fs import FileSystem, copy_files
from pydantic import SecretStr
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from ead_core.checkpoints.checkpoint import CONFIG, PRIOR, STATISTICS, WEIGHTS
from ead_core.cli.console import TrainingBar
from ead_core.common.locks import only_writer
from ead_core.errors import CheckpointError, EADError, OutputError, one_line
from ead_core.training.progress import require_same_model
from ead_core.training.quality import PICTURE
from ead_platform.cluster.session import actors_that_fit
from ead_platform.training.recipe import Recipe
from ead_platform.training.relay import Listener, Mailbox, Relay, Row
from ead_platform.training.state import drop_damaged_list
from ead_platform.training.tracking import TrainingTracker
from ead_platform.training.worker import train_worker

KEPT_CHECKPOINTS = 2
MARKER = ".validate_storage_marker"  # Ray Train's own, so that the folder holds one file less
PUBLISHED = (CONFIG, WEIGHTS, STATISTICS, PRIOR, PICTURE)


class TrainingRun:
    """Follows one training and leaves it in order, however it ends.

    Args:
        recipe: `located`, with a name.
        tracker: of its MLflow run.
        bar: shows progress.
    """

    def __init__(self, recipe: Recipe, tracker: TrainingTracker, bar: TrainingBar) -> None:
        self._recipe, self._tracker, self._bar = recipe, tracker, bar
        self._newest: Checkpoint | None = None

    def __enter__(self) -> "TrainingRun":
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.__exit__()
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED" if error else "FINISHED"
        with tempfile.TemporaryDirectory() as folder:
            try:
                if self._newest is not None:
                    self._publish(self._newest, folder)
            except OSError as failed:
                if error is None:
                    raise OutputError(f"cannot write {self._recipe.model} ({one_line(failed)}).") from failed
            finally:
                self._tracker.finish(status, Path(folder))

    def train(self) -> int:
        """Train until the recipe's end; blocks. Returns the optimiser steps done.

        Raises:
            EADError: the workers refused the recipe, the data, or the run that they found.
            KeyboardInterrupt: the user stopped it.
            ray.train.TrainingFailedError: workers failed more often than the recipe allows.
        """
        damage = drop_damaged_list(self._recipe.place)
        if damage:
            self._bar.say(f"note: {damage}")
        mailbox = Mailbox()
        trainer = ray_trainer(self._recipe, mailbox, self._tracker.store)
        try:
            with Listener(mailbox, self._hear):
                result: Any = trainer.fit()
        except SystemExit as error:  # Ray Train's own handler of Ctrl-C ends the process
            raise KeyboardInterrupt from error
        if "refused" in result.return_value:
            raise EADError(result.return_value["refused"])
        self._newest = result.checkpoint
        return int(result.return_value["steps"])

    def _publish(self, checkpoint: Checkpoint, folder: str) -> None:
        """Copy the model out of a checkpoint into a local folder, and to the place with a lasting name."""
        storage: Any = checkpoint.filesystem
        for name in PUBLISHED:
            if storage.get_file_info(f"{checkpoint.path}/{name}").is_file:
                copy_files(f"{checkpoint.path}/{name}", f"{folder}/{name}", source_filesystem=storage)
        filesystem, target = FileSystem.from_uri(self._recipe.model)
        filesystem.create_dir(target, recursive=True)
        for path in Path(folder).iterdir():  # aside first, so that no file is ever half a file
            aside = f"{target}/.writing-{path.name}"
            copy_files(str(path), aside, destination_filesystem=filesystem)
            filesystem.move(aside, f"{target}/{path.name}")

    def _hear(self, row: Row) -> None:
        self._newest = row.pop("checkpoint", self._newest)
        for note in row.pop("notes", ()):
            self._bar.say(note)
        if row:
            self._bar(row)
            self._tracker.log(row)


def ray_trainer(recipe: Recipe, mailbox: Mailbox, store: str) -> TorchTrainer:
    """Ray's trainer for a recipe; DDP over gloo on CPUs, over NCCL on GPUs.

    Args:
        recipe: `located`.
        mailbox: takes the reports.
        store: where workers look up the address of a checkpoint.
    """
    platform = recipe.platform
    callbacks: list[Any] = [Relay(mailbox)]
    workers: Any = (
        platform.num_workers if platform.min_workers is None else (platform.min_workers, platform.num_workers)
    )
    return TorchTrainer(
        train_worker,
        train_loop_config={"recipe": recipe.model_dump(), "store": SecretStr(store)},  # Ray's dashboard shows it
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=platform.gpus_per_worker > 0,
            resources_per_worker={"CPU": platform.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=platform.name,
            storage_path=platform.storage_path,
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
            failure_config=FailureConfig(max_failures=platform.max_failures),
            callbacks=callbacks,
        ),
    )


@contextmanager
def only_training(recipe: Recipe) -> Iterator[None]:
    """Keep other trainings out of a run's place for the length of a block; object stores keep nobody out.

    Raises:
        OutputError: another process trains there.
    """
    refusal = f"another training is writing to {recipe.place}; wait for it, or choose another platform.name."
    with nullcontext() if "://" in recipe.place else only_writer(Path(recipe.place), refusal):
        yield


def require_storage(recipe: Recipe) -> None:
    """Create the run's place in the storage and write to it, before any worker starts.

    Raises:
        OutputError: it cannot be written, or its address is of no known kind.
    """
    try:
        filesystem, folder = FileSystem.from_uri(recipe.place)
        filesystem.create_dir(folder, recursive=True)
        filesystem.open_output_stream(f"{folder}/{MARKER}").close()
    except (OSError, ArrowException) as error:
        raise OutputError(f"platform.storage_path: cannot write {recipe.place} ({one_line(error)}).") from error


def require_same_run(recipe: Recipe) -> None:
    """Refuse a recipe of another model than the run in its place has published, before any worker starts.

    Raises:
        CheckpointError: it is of another model, or cannot be read. If nothing is published, the workers look.
    """
    filesystem, model = FileSystem.from_uri(recipe.model)
    if not filesystem.get_file_info(f"{model}/{CONFIG}").is_file:
        return
    with filesystem.open_input_stream(f"{model}/{CONFIG}") as file:
        published = file.read()
    try:
        require_same_model(recipe.place, published, recipe.core)
    except CheckpointError as error:
        raise CheckpointError(recipe.reworded(str(error), recipe.place)) from error


def require_capacity(recipe: Recipe) -> None:
    """Refuse at once what would wait forever.

    Raises:
        EADError: the connected cluster cannot hold all workers, or the fewest allowed, at the same time.
    """
    platform = recipe.platform
    room = actors_that_fit(platform.cpus_per_worker, platform.gpus_per_worker)
    if platform.fewest_workers > room:
        key = "num_workers" if platform.min_workers is None else "min_workers"
        raise EADError(f"platform.{key}={platform.fewest_workers}, but the cluster has room for {room} of them.")
