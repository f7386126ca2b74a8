"""The training loop: free of any platform, exactly resumable, reporting through callables.

Every random number of optimiser step n comes from a generator seeded with (seed, n), so a run that was
interrupted continues bit for bit.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ead_core.config import Config
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import labels_of
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.context import encode
from ead_core.errors import DataError
from ead_core.training.checkpoint import save_recipe, save_weights
from ead_core.training.interrupt import stop_on_signal
from ead_core.training.monitor import Clock
from ead_core.training.parallel import Workers
from ead_core.training.progress import load_progress, save_progress
from ead_core.training.trainer import Trainer, rate_factor

Report = Callable[[Mapping[str, Any]], None]
Evaluate = Callable[[Any, int], Mapping[str, float]]  # of the averaged network, a denoiser or a predictor
Published = Callable[[Path], None]
LOG_SECONDS = 2.0


def fit(
    config: Config,
    molecules: MoleculeSet,
    statistics: Statistics,
    directory: Path,
    report: Report = lambda row: None,
    evaluate: Evaluate | None = None,
    published: Published = lambda directory: None,
) -> Path:
    """Train on `molecules` until `training.steps` or `training.max_seconds`; resume what `directory` holds.

    In a torch process group every worker calls this with the same arguments but a `directory` of its own; a
    directory to resume from must hold the same state for all. Only the first worker writes.

    Args:
        config: the recipe.
        molecules: training split, with the properties that the recipe conditions on.
        statistics: saved with the checkpoint; of these molecules and their labels.
        directory: becomes a checkpoint directory; a run found in it is continued.
        report: receives a dictionary of numbers every few seconds and at every evaluation, on all workers at the
            same steps.
        evaluate: called on all workers with the averaged network and the step, every `training.evaluate_every` steps
            and at the end.
        published: called on all workers after every checkpoint that training has written.

    Returns:
        The checkpoint directory.

    Raises:
        CheckpointError: `directory` holds a run of another model, or `training.initial` does not fit the recipe.
        DataError: an element outside the statistics' vocabulary, or a property that molecules or statistics lack.
        OutputError: `directory` cannot be written or its disk is full; the last checkpoint is still there.
    """
    training = config.training
    workers = Workers.joined()
    trainer = Trainer.create(config, statistics, workers)
    resumed = load_progress(directory, trainer, statistics)
    batches, prior = _material(trainer, molecules, statistics)
    workers.led(lambda: save_recipe(directory, config, statistics, prior))
    if not resumed:
        save(directory, trainer)  # from now on the folder is a run that can be resumed, whatever happens
    clock, started = Clock(training.max_seconds, trainer.seconds), trainer.step
    saved, ended = time.monotonic(), False
    with stop_on_signal() as stop:
        while trainer.step < training.steps and not ended:
            trainer.advance(batches.batch(trainer.step).to(workers.device))
            trainer.seconds = clock.total()
            if evaluate is not None and _evaluation_is_due(trainer):
                _report_window(trainer, clock, batches, report)
                with trainer.averaged() as averaged:
                    report({"step": trainer.step, **evaluate(averaged, trainer.step)})
                clock.reported()  # the time of an evaluation is not training's
            if not workers.meet(trainer.step):
                continue
            ended, reporting, saving = workers.agree(
                stop.is_set() or clock.over(),
                clock.since_report() >= LOG_SECONDS,
                time.monotonic() - saved >= training.checkpoint_seconds,
            )
            if reporting:
                _report_window(trainer, clock, batches, report)
            if saving:
                save(directory, trainer)
                published(directory)
                saved = time.monotonic()
    if trainer.window.molecules:
        _report_window(trainer, clock, batches, report)
    if trainer.step > started:
        save(directory, trainer)
        published(directory)
    return directory


def _material(
    trainer: Trainer, molecules: MoleculeSet, statistics: Statistics
) -> tuple[TrainingBatches, JointPrior | None]:
    """What the run learns from, and the table of it that a conditional checkpoint keeps.

    Raises:
        DataError: see `fit`.
    """
    training, types = trainer.config.training, trainer.atom_types
    labels = labels_of(molecules, trainer.config.conditioning, trainer.config.data.split_seed)
    if labels.keys() != statistics.properties.keys():
        raise DataError("the statistics are not of the recipe's properties; compute_statistics takes their labels.")
    if not labels:
        return TrainingBatches(molecules, types, training.batch_size, training.seed), None
    context = encode(labels, statistics.properties, len(molecules))
    if training.objective == "predict":  # nothing is learnt from what has no label
        known = context[:, 1::2].any(dim=1)
        molecules = molecules.select(known.numpy())
        return TrainingBatches(molecules, types, training.batch_size, training.seed, context[known]), None
    batches = TrainingBatches(molecules, types, training.batch_size, training.seed, context)
    return batches, JointPrior.of_training(molecules, labels, training.seed)


def save(directory: Path, trainer: Trainer) -> None:
    """Write the state to resume from, then publish the averaged weights; the first worker does it for all.

    Raises:
        OutputError: on all workers, there is no room; the state before is still there.
    """

    def write() -> None:
        save_progress(directory, trainer)
        save_weights(directory, trainer.ema.weights)

    trainer.workers.led(write)


def _evaluation_is_due(trainer: Trainer) -> bool:
    training = trainer.config.training
    return trainer.step % training.evaluate_every == 0 or trainer.step == training.steps


def _report_window(trainer: Trainer, clock: Clock, batches: TrainingBatches, report: Report) -> None:
    rate = trainer.window.molecules / clock.since_report()
    clock.reported()
    training = trainer.config.training
    report(
        {
            "step": trainer.step,
            "epoch": trainer.step / batches.per_epoch,
            "seconds": trainer.seconds,
            "learning_rate": training.learning_rate * rate_factor(trainer.config, trainer.step),
            "molecules_per_second": rate,
            **trainer.window.drain(),
        }
    )
