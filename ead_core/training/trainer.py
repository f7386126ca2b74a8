"""One optimiser step, and everything that changes while training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.data.tensors import AtomTypes, MoleculeBatch
from ead_core.networks.denoiser import Denoiser
from ead_core.networks.inputs import DenoiserFunction
from ead_core.networks.precision import weight_type, with_precision
from ead_core.networks.predictor import Predictor
from ead_core.training.ema import Ema
from ead_core.training.monitor import LossWindow
from ead_core.training.objective import Objective, TrainingStep
from ead_core.training.objectives import build_objective
from ead_core.training.optimizer import Optimizer
from ead_core.training.parallel import Workers


@dataclass
class Trainer:
    """The state of a training run.

    Attributes:
        config: the recipe.
        workers: who trains.
        network: what is being optimised: a denoiser, or a predictor of properties.
        model: the same network in the precision of training, as `Workers.wrap` has it.
        optimizer: over its parameters.
        ema: the averaged weights that a checkpoint publishes.
        objective: what it is trained for.
        data: digest of what it learns from; empty if nobody has said.
        step: optimiser steps done.
        seconds: wall clock spent training, over all sittings.
    """

    config: Config
    workers: Workers
    network: Denoiser | Predictor
    model: DenoiserFunction
    optimizer: Optimizer
    ema: Ema
    objective: Objective
    data: str = ""
    step: int = 0
    seconds: float = 0.0
    window: LossWindow = field(default_factory=LossWindow)

    @classmethod
    def create(cls, config: Config, statistics: Statistics, workers: Workers) -> "Trainer":
        """A trainer at step 0 (CheckpointError as of `Objective.at_start`)."""
        objective = build_objective(config, statistics)
        network = objective.at_start()
        network.to(workers.device, weight_type(config.training.precision))
        return cls(
            config=config,
            workers=workers,
            network=network,
            model=with_precision(workers.wrap(network), config.training.precision),
            optimizer=Optimizer(network, config.training, workers),
            ema=Ema(network, config.training.ema_decay),
            objective=objective,
        )

    @property
    def atom_types(self) -> AtomTypes:
        """The element vocabulary of the model."""
        return self.objective.atom_types

    def advance(self, batch: MoleculeBatch) -> None:
        """One optimiser step on a batch, of which this worker does its share."""
        rows, factor = self.workers.share(len(batch.mask))
        losses, levels = self.losses(batch, rows)
        norm = self.optimizer.minimise(factor * losses.sum(), rate_factor(self.config, self.step))
        self.ema.update(self.network, self.step)
        self.window.add(losses.detach(), levels, norm, len(batch.mask))
        self.step += 1

    def losses(self, batch: MoleculeBatch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and mean relative noise levels of the molecules `rows`, random numbers being those of this step."""
        generator = torch.Generator(device=batch.mask.device)
        generator.manual_seed(int(np.random.SeedSequence([self.config.training.seed, self.step]).generate_state(1)[0]))
        return self.objective.losses(TrainingStep(self.network, self.model, self.ema.weights, batch, rows, generator))

    @contextmanager
    def averaged(self) -> Iterator[Denoiser | Predictor]:
        """The network with averaged weights, in evaluation mode, for the length of a block."""
        current = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        try:
            self.network.load_state_dict(self.ema.weights)
            yield self.network.eval()
        finally:
            self.network.load_state_dict(current)
            self.network.train()


def rate_factor(config: Config, step: int) -> float:
    """Learning rate over its peak: linear warm-up, plateau, linear fall to 0 in the last `decay_fraction`.

    The plateau makes the recipe extendable: continue from a plateau checkpoint with more `steps`.
    """
    training = config.training
    warm = min(1.0, (step + 1) / (training.warmup_steps + 1))
    decay_steps = training.decay_fraction * training.steps
    left = (training.steps - step) / decay_steps if decay_steps else 1.0
    return min(warm, left, 1.0)
