"""The training loop: free of any platform, exactly resumable, reporting through a callable.

Every random number of optimiser step n comes from a generator seeded with (seed, n), so a run that was
interrupted continues bit for bit.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ead_core.config import Config
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import Statistics
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.corruption import corrupt, draw_levels
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.molecules import AtomTypes, MoleculeBatch
from ead_core.networks.denoiser import Denoiser
from ead_core.training.checkpoint import new_denoiser, save_recipe, save_weights
from ead_core.training.ema import Ema
from ead_core.training.interrupt import stop_on_signal
from ead_core.training.monitor import Clock, LossWindow
from ead_core.training.optimizer import Optimizer
from ead_core.training.progress import load_progress, save_progress

Report = Callable[[Mapping[str, Any]], None]
Evaluate = Callable[[Denoiser, int], Mapping[str, float]]
LOG_SECONDS = 2.0


@dataclass
class Trainer:
    """Everything that changes while training.

    Attributes:
        config: the recipe.
        denoiser: the network being optimised.
        optimizer: over its parameters.
        ema: the averaged weights that a checkpoint publishes.
        step: optimiser steps done.
        seconds: wall clock spent training, over all sittings.
    """

    config: Config
    denoiser: Denoiser
    optimizer: Optimizer
    ema: Ema
    schedule: NoiseSchedule
    atom_types: AtomTypes
    step: int = 0
    seconds: float = 0.0
    window: LossWindow = field(default_factory=LossWindow)

    @classmethod
    def create(cls, config: Config, statistics: Statistics, device: torch.device) -> "Trainer":
        """A trainer at step 0; the initial weights depend on `training.seed` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            denoiser = new_denoiser(config, statistics)
        denoiser.to(device)
        return cls(
            config=config,
            denoiser=denoiser,
            optimizer=Optimizer(denoiser, config.training),
            ema=Ema(denoiser, config.training.ema_decay),
            schedule=NoiseSchedule(config.diffusion.steps, config.diffusion.precision),
            atom_types=AtomTypes(statistics.atom_numbers),
        )

    def advance(self, batch: MoleculeBatch) -> None:
        """One optimiser step on a batch."""
        losses, levels = self.losses(batch)
        losses.mean().backward()
        norm = nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.config.training.clip_norm)
        self.optimizer.step(rate_factor(self.config, self.step))
        self.ema.update(self.denoiser, self.step)
        self.window.add(losses.detach(), levels, norm)
        self.step += 1

    def losses(self, batch: MoleculeBatch) -> tuple[Tensor, Tensor]:
        """Per-molecule losses [B] and mean relative noise levels [B] of this step's corruption."""
        diffusion = self.config.diffusion
        generator = torch.Generator(device=batch.mask.device)
        generator.manual_seed(int(np.random.SeedSequence([self.config.training.seed, self.step]).generate_state(1)[0]))
        levels = draw_levels(batch.mask, diffusion.steps, diffusion.interval, diffusion.offset_mode, generator)
        corrupted = corrupt(batch.state(self.atom_types), levels, batch.mask, self.schedule, generator)
        predicted = self.denoiser(corrupted.z, levels, batch.mask)
        mean_level = (levels * batch.mask).sum(dim=1) / batch.mask.sum(dim=1) / diffusion.steps
        return noise_loss(predicted, corrupted, batch.mask), mean_level

    @contextmanager
    def averaged(self) -> Iterator[Denoiser]:
        """The denoiser with averaged weights, in evaluation mode, for the length of a block."""
        current = {name: p.detach().clone() for name, p in self.denoiser.named_parameters()}
        try:
            self.denoiser.load_state_dict(self.ema.weights)
            yield self.denoiser.eval()
        finally:
            self.denoiser.load_state_dict(current)
            self.denoiser.train()


def rate_factor(config: Config, step: int) -> float:
    """Learning rate over its peak: linear warm-up, plateau, linear fall to 0 in the last `decay_fraction`.

    The plateau makes the recipe extendable: continue from a plateau checkpoint with more `steps`.
    """
    training = config.training
    warm = min(1.0, (step + 1) / (training.warmup_steps + 1))
    decay_steps = training.decay_fraction * training.steps
    left = (training.steps - step) / decay_steps if decay_steps else 1.0
    return min(warm, left, 1.0)


def fit(
    config: Config,
    molecules: MoleculeSet,
    statistics: Statistics,
    directory: Path,
    report: Report = lambda row: None,
    evaluate: Evaluate | None = None,
) -> Path:
    """Train on `molecules` until `training.steps` or `training.max_seconds`; resume what `directory` holds.

    Args:
        config: the recipe.
        molecules: training split.
        statistics: saved with the checkpoint.
        directory: becomes a checkpoint directory; a run found in it is continued.
        report: receives a dictionary of numbers every few seconds and at every evaluation.
        evaluate: called with the averaged denoiser and the step every `training.evaluate_every` steps.

    Returns:
        The checkpoint directory.

    Raises:
        CheckpointError: `directory` holds a run of another model.
        DataError: an element outside the statistics' vocabulary.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer.create(config, statistics, device)
    resumed = load_progress(directory, trainer, statistics)
    batches = TrainingBatches(molecules, trainer.atom_types, config.training.batch_size, config.training.seed)
    save_recipe(directory, config, statistics)
    if not resumed:
        save(directory, trainer)  # from now on the folder is a run that can be resumed, whatever happens
    clock = Clock(config.training.max_seconds, trainer.seconds)
    saved = time.monotonic()
    with stop_on_signal() as stop:
        while trainer.step < config.training.steps and not stop.is_set() and not clock.over():
            trainer.advance(batches.batch(trainer.step).to(device))
            trainer.seconds = clock.total()
            if evaluate is not None and trainer.step % config.training.evaluate_every == 0:
                with trainer.averaged() as averaged:
                    report({"step": trainer.step, **evaluate(averaged, trainer.step)})
            if clock.since_report() >= LOG_SECONDS:
                _report_window(trainer, clock, report)
            if time.monotonic() - saved >= config.training.checkpoint_seconds:
                save(directory, trainer)
                saved = time.monotonic()
    if trainer.window.molecules:
        _report_window(trainer, clock, report)
    save(directory, trainer)
    return directory


def save(directory: Path, trainer: Trainer) -> None:
    """Write the state to resume from, then publish the averaged weights."""
    save_progress(directory, trainer)
    save_weights(directory, trainer.ema.weights)


def _report_window(trainer: Trainer, clock: "Clock", report: Report) -> None:
    rate = trainer.window.molecules / clock.since_report()
    clock.reported()
    training = trainer.config.training
    report(
        {
            "step": trainer.step,
            "seconds": trainer.seconds,
            "learning_rate": training.learning_rate * rate_factor(trainer.config, trainer.step),
            "molecules_per_second": rate,
            **trainer.window.drain(),
        }
    )
