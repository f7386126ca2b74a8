"""The objective `denoise`: to predict the noise of a molecule (EAD Algorithm 1), which makes a generator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ead_core.data.batching import TrainingBatches
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import Labels
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import MoleculeBatch, about
from ead_core.diffusion.context import encode, hide
from ead_core.diffusion.corruption import Corrupted, corrupt, draw_levels
from ead_core.diffusion.gauge import GAUGES, Gauge, PinnedGauge
from ead_core.diffusion.held_parts import draw_held
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.parametrisation import clean, level_weights, predicts_noise
from ead_core.diffusion.schedule import NoiseSchedule, build_schedule
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.precision import weight_type
from ead_core.prediction.completing import completed
from ead_core.training.objective import Evaluate, Objective, TrainingStep
from ead_core.training.quality import quality_check

if TYPE_CHECKING:
    from ead_core.training.session import Session

TOLD_SHARE = 0.5  # of the steps, in which a self-conditioned network is given its own estimate (Chen et al. 2022)


@dataclass(frozen=True)
class Denoising(Objective):
    """The objective of a generator: predict the noise of every atom (EAD Algorithm 1).

    Which properties are hidden is drawn last but for what the network asks for, so that the noise is that of an
    unconditional run.
    """

    generates: ClassVar[bool] = True

    def examples(self, molecules: MoleculeSet, labels: Labels) -> tuple[TrainingBatches, JointPrior | None]:
        """All molecules, with what is known or predicted of them, and how sizes and measured properties go together."""
        training = self.config.training
        told = completed(labels, molecules, self.config)
        context = encode(told, self.statistics.properties, len(molecules)) if labels else None
        batches = TrainingBatches(molecules, self.atom_types, training.batch_size, training.seed, context)
        return batches, JointPrior.of_training(molecules, labels, training.seed) if labels else None

    def losses(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """The losses of a training step (see `Objective`)."""
        batch, rows, generator = step.batch, step.rows, step.generator
        diffusion, training = self.config.diffusion, self.config.training
        dummies = batch.types == 0 if self.atom_types.has_dummies else None
        levels = draw_levels(batch.mask, diffusion, generator, training.level_power, dummies, training.level_focus)
        state = batch.state(self.atom_types).to(weight_type(training.precision))
        held = self._held(batch, generator)
        if held is not None:
            state, levels = about(state, held), levels.masked_fill(held, 0)
        corrupted = corrupt(state, levels, batch.mask, self._gauge(held), generator).select(rows)
        mask, context = batch.mask[rows], batch.context
        if context is not None:
            context = hide(context, self.config.conditioning, generator)[rows]
        held = None if held is None else held[rows]
        gauge, learned = self._gauge(held), mask if held is None else mask & ~held
        inputs = DenoiserInput(corrupted.z, corrupted.levels, mask, context, step.draws())

        def predict(inputs: DenoiserInput) -> Tensor:
            denoiser = predicts_noise(step.model, diffusion.parametrisation, self._schedule)
            return gauge.project_noise(denoiser(inputs), corrupted.levels, mask)

        if self.config.network.self_conditioning:
            inputs = replace(inputs, estimate=self._estimate(predict, inputs, gauge, generator))
        mean_level = (corrupted.levels * learned).sum(dim=1) / learned.sum(dim=1) / diffusion.steps
        return self._loss(predict(inputs), corrupted, learned, gauge), mean_level

    def evaluation(self, session: "Session", directory: Path | None) -> Evaluate | None:
        """The stability of sampled molecules."""
        return quality_check(self.config, self.statistics, directory)

    def _loss(self, predicted: Tensor, corrupted: Corrupted, learned: Tensor, gauge: Gauge) -> Tensor:
        """The loss of each molecule [B]: of the predicted noise [B, N, 3 + F] of the atoms that count [B, N]."""
        weights = level_weights(self.config.diffusion.parametrisation, corrupted.levels, self._schedule)
        return noise_loss(predicted, corrupted, learned, weights)

    def _estimate(
        self,
        predict: Callable[[DenoiserInput], Tensor],
        inputs: DenoiserInput,
        gauge: Gauge,
        generator: torch.Generator,
    ) -> Tensor:
        """What the network may start from [B, N, 3 + F]: in half of the steps its own prediction, else nothing."""
        if float(torch.rand(1, generator=generator, device=inputs.z.device)) >= TOLD_SHARE:
            return torch.zeros_like(inputs.z)
        alpha, sigma = self._coefficients(inputs.levels, inputs.z)
        with torch.no_grad():
            return gauge.centred(clean(predict(inputs), inputs.z, alpha, sigma), inputs.mask)

    def _coefficients(self, levels: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ [B, N, 1] of levels [B, N]."""
        alpha, sigma = (c(levels)[..., None].to(like.dtype) for c in (self._schedule.alpha, self._schedule.sigma))
        return alpha, sigma

    def _held(self, batch: MoleculeBatch, generator: torch.Generator) -> Tensor | None:
        """Atoms that are held clean [B, N], in a share `training.fragments` of the batches."""
        share = self.config.training.fragments
        if not share or float(torch.rand(1, generator=generator, device=batch.mask.device)) >= share:
            return None
        return draw_held(batch, self.atom_types, generator)

    def _gauge(self, held: Tensor | None) -> Gauge:
        return self._plain_gauge if held is None else PinnedGauge(self._schedule, held)

    @cached_property
    def _plain_gauge(self) -> Gauge:
        return GAUGES[self.config.diffusion.gauge](self._schedule)

    @cached_property
    def _schedule(self) -> NoiseSchedule:
        return build_schedule(self.config.diffusion)
