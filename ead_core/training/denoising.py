"""The objective `denoise`: to predict the noise of a molecule (EAD Algorithm 1), which makes a generator."""

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
from ead_core.diffusion.corruption import corrupt, draw_levels
from ead_core.diffusion.gauge import GAUGES, Gauge, PinnedGauge
from ead_core.diffusion.held_parts import draw_held
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.parametrisation import level_weights, predicts_noise
from ead_core.diffusion.schedule import NoiseSchedule, build_schedule
from ead_core.errors import TrainingError
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.precision import weight_type
from ead_core.prediction.completing import completed
from ead_core.training.held_out import held_out_check
from ead_core.training.noised import Noised
from ead_core.training.objective import Evaluate, Objective, TrainingStep
from ead_core.training.parallel import Workers
from ead_core.training.quality import quality_check

if TYPE_CHECKING:
    from ead_core.training.session import Session

TOLD_SHARE = 0.5  # of the steps, in which a self-conditioned network is given its own estimate (Chen et al. 2022)
KEPT = "estimates"  # in the memory: [M, N, 3 + F] the last estimate of every training molecule, zero before the first


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
        if self.config.network.self_conditioning and training.xbar == "buffer":
            self.memory.setdefault(KEPT, self._room_for_estimates(molecules))
        batches = TrainingBatches(molecules, self.atom_types, training.batch_size, training.seed, context)
        return batches, JointPrior.of_training(molecules, labels, training.seed) if labels else None

    def losses(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """The losses of a training step (see `Objective`)."""
        noised = self._noised(step)
        inputs = noised.inputs
        if self.config.network.self_conditioning:
            inputs = replace(inputs, estimate=self._estimate(noised, step))
        predicted = noised.predict(inputs)
        if KEPT in self.memory:
            self.memory[KEPT][self._places(step), : inputs.z.shape[1]] = noised.clean(predicted.detach()).cpu()
        return self._loss(predicted, noised), noised.mean_level() / self.config.diffusion.steps

    def evaluation(self, session: "Session", directory: Path | None) -> Evaluate | None:
        """The stability of sampled molecules, and with `training.patience` the loss on those that are held out."""
        quality = quality_check(self.config, self.statistics, directory)
        if self.config.training.patience is None:
            return quality
        held_out = held_out_check(self, session.valid)
        if quality is None:
            return held_out
        return lambda network, step: {**quality(network, step), **held_out(network, step)}

    def _noised(self, step: TrainingStep) -> Noised:
        """The molecules of this worker with noise, all of which is drawn for the whole batch."""
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
        return Noised(
            corrupted=corrupted,
            inputs=DenoiserInput(corrupted.z, corrupted.levels, mask, context, step.draws()),
            learned=mask if held is None else mask & ~held,
            gauge=self._gauge(held),
            denoiser=predicts_noise(step.model, diffusion.parametrisation, self._schedule),
        )

    def _loss(self, predicted: Tensor, noised: Noised) -> Tensor:
        """The loss of each molecule [B], given the predicted noise [B, N, 3 + F]."""
        weights = level_weights(self.config.diffusion.parametrisation, noised.corrupted.levels, self._schedule)
        return noise_loss(predicted, noised.corrupted, noised.learned, weights)

    def _estimate(self, noised: Noised, step: TrainingStep) -> Tensor:
        """What the network is given [B, N, 3 + F]: the kept estimate, or in half of the steps its own of this step."""
        inputs = noised.inputs
        if KEPT in self.memory:
            return self.memory[KEPT][self._places(step), : inputs.z.shape[1]].to(inputs.z.device)
        if float(torch.rand(1, generator=step.generator, device=inputs.z.device)) >= TOLD_SHARE:
            return torch.zeros_like(inputs.z)
        with torch.no_grad():
            return noised.clean(noised.predict(inputs))

    def _places(self, step: TrainingStep) -> Tensor:
        """Of this worker's molecules in the training set."""
        assert step.batch.examples is not None
        return step.batch.examples[step.rows].cpu()

    def _room_for_estimates(self, molecules: MoleculeSet) -> Tensor:
        """Zeros for an estimate of every training molecule (TrainingError where several processes share a batch)."""
        if Workers.joined().size > 1:
            raise TrainingError(
                "training.xbar=buffer keeps the estimates of all molecules in one process, but several share the "
                "training; use training.threads=1 and one worker, or training.xbar=selfcond."
            )
        shape = len(molecules), int(molecules.num_atoms.max()), 3 + self.atom_types.num_features
        return torch.zeros(shape, dtype=weight_type(self.config.training.precision))

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
