"""The training loop: free of any platform, exactly resumable, reporting through callables.

Every random number of optimiser step n comes from a generator seeded with (seed, n), so a run that was
interrupted continues bit for bit.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from ead_core.checkpoints.checkpoint import save_recipe, save_weights
from ead_core.common.locks import only_writer
from ead_core.config import Config
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import labels_of
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError, TrainingError
from ead_core.training.best import Best, load_best
from ead_core.training.interrupt import stop_on_signal
from ead_core.training.monitor import Clock
from ead_core.training.objective import Evaluate
from ead_core.training.parallel import Workers
from ead_core.training.progress import data_digest, load_progress, save_progress
from ead_core.training.trainer import Trainer, rate_factor

Report = Callable[[Mapping[str, Any]], None]
Published = Callable[[Path], None]
LOG_SECONDS = 2.0
IN_USE = "another training is writing to {}; wait for it, or choose another folder."


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
        directory: becomes a checkpoint directory; a run found in it is continued. Its first worker keeps others out.
        report: receives a dictionary of numbers every few seconds and at every evaluation, on all workers at the
            same steps.
        evaluate: called on all workers with the averaged network and the step, every `training.evaluate_every` steps
            and at the end. With `training.patience` it must return `held_out_loss`.
        published: called on all workers after every checkpoint that training has written.

    Returns:
        The checkpoint directory.

    Raises:
        CheckpointError: `directory` holds a run of another model or on other data, or `training.initial` does not fit
            the recipe.
        DataError: an element outside the statistics' vocabulary, or a property that molecules or statistics lack.
        OutputError: `directory` cannot be written, its disk is full, or another process trains in it; the last
            checkpoint is still there.
        TrainingError: the loss or a gradient is no finite number; the last checkpoint is still there.
    """
    workers = Workers.joined()
    with ExitStack() as held:
        workers.led(lambda: held.enter_context(only_writer(directory, IN_USE.format(directory))))
        trainer = Trainer.create(config, statistics, workers)
        trainer.data = data_digest(molecules, statistics)
        resumed = workers.together(lambda: load_progress(directory, trainer, statistics))
        best = load_best(directory, config.training, trainer.step)
        batches, prior = _material(trainer, molecules, statistics)
        workers.led(lambda: save_recipe(directory, config, statistics, prior))
        if not resumed:
            save(directory, trainer)  # from now on the folder is a run that can be resumed, whatever happens
        _Sitting(trainer, batches, directory, best, report, evaluate, published).train()
    return directory


class _Sitting:
    """From where a run stands to its end, its time limit or a signal; see `fit`."""

    def __init__(
        self,
        trainer: Trainer,
        batches: TrainingBatches,
        directory: Path,
        best: Best,
        report: Report,
        evaluate: Evaluate | None,
        published: Published,
    ) -> None:
        self._trainer, self._batches, self._directory, self._best = trainer, batches, directory, best
        self._report, self._evaluate, self._published = report, evaluate, published
        self._clock = Clock(trainer.config.training.max_seconds, trainer.seconds)
        self._saved, self._kept = time.monotonic(), trainer.step  # when, and which step

    def train(self) -> None:
        """Train, report and save."""
        trainer, training = self._trainer, self._trainer.config.training
        ended = self._best.waited(training, trainer.step)
        with stop_on_signal() as stop:
            while trainer.step < training.steps and not ended:
                trainer.advance(self._batches.batch(trainer.step).to(trainer.workers.device))
                trainer.seconds = self._clock.total()
                if self._evaluate is not None and _evaluation_is_due(trainer):
                    self._check(self._evaluate)
                    ended = self._best.waited(training, trainer.step)
                if trainer.workers.meet(trainer.step):
                    ended = self._meet(stop.is_set()) or ended
        if trainer.window.molecules:
            self._report_window()
        if trainer.step > self._kept:
            self._save()

    def _check(self, evaluate: Evaluate) -> None:
        """Report how good the averaged network is, and keep it if it is the best with `training.patience`."""
        trainer = self._trainer
        self._report_window()
        with trainer.averaged() as averaged:
            figures = evaluate(averaged, trainer.step)
        self._report({"step": trainer.step, **figures})
        if trainer.config.training.patience and self._best.see(figures, trainer.step, trainer.ema.weights):
            trainer.workers.led(lambda: self._best.save(self._directory))
        self._clock.reported()  # the time of an evaluation is not training's

    def _meet(self, stopped: bool) -> bool:
        """Report and save if any worker finds that it is time to; whether the sitting is over."""
        training = self._trainer.config.training
        ended, reporting, saving = self._trainer.workers.agree(
            stopped or self._clock.over(),
            self._clock.since_report() >= LOG_SECONDS,
            time.monotonic() - self._saved >= training.checkpoint_seconds,
        )
        if reporting and self._trainer.window.molecules:
            self._report_window()
        if saving:
            self._save()
        return ended

    def _save(self) -> None:
        save(self._directory, self._trainer, self._best.weights)
        self._published(self._directory)
        self._saved, self._kept = time.monotonic(), self._trainer.step

    def _report_window(self) -> None:
        """Report what has been since the last report (TrainingError on all workers if it was not finite)."""
        trainer, window = self._trainer, self._trainer.window
        trainer.workers.together(self._require_finite)
        rate = window.molecules / self._clock.since_report()
        self._clock.reported()
        self._report(
            {
                "step": trainer.step,
                "epoch": trainer.step / self._batches.per_epoch,
                "seconds": trainer.seconds,
                "learning_rate": trainer.config.training.learning_rate * rate_factor(trainer.config, trainer.step),
                "molecules_per_second": rate,
                **window.drain(),
            }
        )

    def _require_finite(self) -> None:
        trainer = self._trainer
        broken = trainer.window.first_broken()
        if broken is not None:
            step = trainer.step - len(trainer.window) + broken + 1
            rate = trainer.config.training.learning_rate
            raise TrainingError(
                f"the loss or its gradient is no finite number at step {step}; {self._directory} keeps the state of "
                f"step {self._kept}. Try a lower training.learning_rate than {rate:g}, or look for broken molecules."
            )


def _material(
    trainer: Trainer, molecules: MoleculeSet, statistics: Statistics
) -> tuple[TrainingBatches, JointPrior | None]:
    """What the run learns from, and the table of it that a conditional checkpoint keeps.

    Raises:
        DataError: see `fit`.
    """
    config = trainer.config
    labels = labels_of(molecules, config.conditioning, config.data.split_seed)
    if labels.keys() != statistics.properties.keys():
        raise DataError("the statistics are not of the recipe's properties; compute_statistics takes their labels.")
    return trainer.objective.examples(molecules, labels)


def save(directory: Path, trainer: Trainer, best: Mapping[str, Tensor] | None = None) -> None:
    """Write the state to resume from, then publish the averaged weights; the first worker does it for all.

    Args:
        directory: of the run.
        trainer: its state.
        best: weights that are to be published instead.

    Raises:
        OutputError: on all workers, there is no room; the state before is still there.
        TrainingError: on all workers, the weights are not finite; the state before is still there too.
    """

    def write() -> None:
        if not all(bool(weight.isfinite().all()) for weight in trainer.ema.weights.values()):
            raise TrainingError(f"the weights are no finite numbers at step {trainer.step}; nothing is saved of it.")
        save_progress(directory, trainer)
        save_weights(directory, best or trainer.ema.weights)

    trainer.workers.led(write)


def _evaluation_is_due(trainer: Trainer) -> bool:
    training = trainer.config.training
    return trainer.step % training.evaluate_every == 0 or trainer.step == training.steps
