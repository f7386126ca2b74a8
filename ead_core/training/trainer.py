"""One optimiser step of EAD, and everything that changes while training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.diffusion.context import hide
from ead_core.diffusion.corruption import corrupt, draw_levels
from ead_core.diffusion.fragments import about_held, draw_held
from ead_core.diffusion.gauge import GAUGES, Gauge, PinnedGauge
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.molecules import AtomTypes, MoleculeBatch
from ead_core.networks.denoiser import Denoiser
from ead_core.precision import DenoiserFunction, computed, weight_type
from ead_core.training.checkpoint import new_denoiser, vocabulary
from ead_core.training.ema import Ema
from ead_core.training.initial import initial_weights
from ead_core.training.monitor import LossWindow
from ead_core.training.optimizer import Optimizer
from ead_core.training.parallel import Workers


@dataclass
class Trainer:
    """The state of a training run.

    Attributes:
        config: the recipe.
        workers: who trains.
        denoiser: the network being optimised.
        model: the same network in the precision of training, with gradients averaged over the workers.
        optimizer: over its parameters.
        ema: the averaged weights that a checkpoint publishes.
        step: optimiser steps done.
        seconds: wall clock spent training, over all sittings.
    """

    config: Config
    workers: Workers
    denoiser: Denoiser
    model: DenoiserFunction
    optimizer: Optimizer
    ema: Ema
    gauge: Gauge
    atom_types: AtomTypes
    step: int = 0
    seconds: float = 0.0
    window: LossWindow = field(default_factory=LossWindow)

    @classmethod
    def create(cls, config: Config, statistics: Statistics, workers: Workers) -> "Trainer":
        """A trainer at step 0; the weights are those of `training.initial`, or depend on `training.seed` alone.

        Raises:
            CheckpointError: `training.initial` names no checkpoint, or one of another model.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            denoiser = new_denoiser(config, statistics)
        if config.training.initial is not None:
            denoiser.load_state_dict(initial_weights(config, statistics))
        denoiser.to(workers.device, weight_type(config.training.precision))
        return cls(
            config=config,
            workers=workers,
            denoiser=denoiser,
            model=computed(workers.wrap(denoiser), config.training.precision),
            optimizer=Optimizer(denoiser, config.training),
            ema=Ema(denoiser, config.training.ema_decay),
            gauge=GAUGES[config.diffusion.gauge](NoiseSchedule(config.diffusion.steps, config.diffusion.precision)),
            atom_types=vocabulary(config, statistics),
        )

    def advance(self, batch: MoleculeBatch) -> None:
        """One optimiser step on a batch, of which this worker does its share."""
        rows, factor = self.workers.share(len(batch.mask))
        losses, levels = self.losses(batch, rows)
        (factor * losses.sum()).backward()
        norm = nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.config.training.clip_norm)
        self.optimizer.step(rate_factor(self.config, self.step))
        self.ema.update(self.denoiser, self.step)
        self.window.add(losses.detach(), levels, norm, len(batch.mask))
        self.step += 1

    def losses(self, batch: MoleculeBatch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and mean relative noise levels of the molecules `rows` under this step's corruption.

        The whole batch is corrupted, so that a molecule's noise does not depend on the number of workers. Which
        properties are hidden is drawn last, so that it is the noise of an unconditional run.
        """
        diffusion, training = self.config.diffusion, self.config.training
        generator = torch.Generator(device=batch.mask.device)
        generator.manual_seed(int(np.random.SeedSequence([training.seed, self.step]).generate_state(1)[0]))
        dummies = batch.types == 0 if self.atom_types.has_dummies else None
        levels = draw_levels(batch.mask, diffusion, generator, training.level_power, dummies)
        state = batch.state(self.atom_types).to(weight_type(training.precision))
        held = self._held(batch, generator)
        if held is not None:
            state, levels = about_held(state, held), levels.masked_fill(held, 0)
        corrupted = corrupt(state, levels, batch.mask, self._gauge(held), generator).select(rows)
        mask, context = batch.mask[rows], batch.context
        if context is not None:
            context = hide(context, self.config.conditioning, generator)[rows]
        eps = self.model(corrupted.z, corrupted.levels, mask, context)
        held = None if held is None else held[rows]
        predicted = self._gauge(held).seen(eps, corrupted.levels, mask)
        learned = mask if held is None else mask & ~held
        mean_level = (corrupted.levels * learned).sum(dim=1) / learned.sum(dim=1) / diffusion.steps
        return noise_loss(predicted, corrupted, learned), mean_level

    def _held(self, batch: MoleculeBatch, generator: torch.Generator) -> Tensor | None:
        """Atoms that are held clean [B, N], in a share `training.fragments` of the batches."""
        share = self.config.training.fragments
        if not share or float(torch.rand(1, generator=generator, device=batch.mask.device)) >= share:
            return None
        return draw_held(batch, self.atom_types, generator)

    def _gauge(self, held: Tensor | None) -> Gauge:
        return self.gauge if held is None else PinnedGauge(self.gauge.schedule, held)

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
