"""What a network is trained for: to tell the noise of a molecule (`denoise`), or its properties (`predict`).

Legend: B molecules, N padded atoms, P properties.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ead_core.config import Config
from ead_core.data.tensors import AtomTypes, MoleculeBatch, about
from ead_core.diffusion.context import hide
from ead_core.diffusion.corruption import corrupt, draw_levels
from ead_core.diffusion.gauge import GAUGES, Gauge, PinnedGauge
from ead_core.diffusion.held_parts import draw_held
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.networks.precision import DenoiserFunction, weight_type


@dataclass(frozen=True)
class Objective(ABC):
    """The loss of a recipe.

    Attributes:
        config: the recipe.
        atom_types: the vocabulary.
    """

    config: Config
    atom_types: AtomTypes

    @abstractmethod
    def losses(
        self, model: DenoiserFunction, batch: MoleculeBatch, rows: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Losses and mean relative noise levels of the molecules `rows` of a batch.

        All that is random is drawn for the whole batch, so that it does not depend on the number of workers.
        """


@dataclass(frozen=True)
class Denoising(Objective):
    """EAD Algorithm 1.

    Which properties are hidden is drawn last, so that the noise is that of an unconditional run.
    """

    def losses(
        self, model: DenoiserFunction, batch: MoleculeBatch, rows: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
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
        eps = model(corrupted.z, corrupted.levels, mask, context)
        held = None if held is None else held[rows]
        predicted = self._gauge(held).project_noise(eps, corrupted.levels, mask)
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
        return self._plain_gauge if held is None else PinnedGauge(self._plain_gauge.schedule, held)

    @cached_property
    def _plain_gauge(self) -> Gauge:
        diffusion = self.config.diffusion
        return GAUGES[diffusion.gauge](NoiseSchedule(diffusion.steps, diffusion.precision))


@dataclass(frozen=True)
class Prediction(Objective):
    """Mean absolute deviation from the known properties, in units of each property's own."""

    def losses(
        self, model: DenoiserFunction, batch: MoleculeBatch, rows: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Objective`; nothing is random, and all levels are 0."""
        assert batch.context is not None  # the labels
        state, mask = batch.state(self.atom_types)[rows], batch.mask[rows]
        state = state.to(weight_type(self.config.training.precision))
        wanted, known = batch.context[rows].to(state.dtype).unflatten(1, (-1, 2)).unbind(dim=-1)
        predicted = model(state, torch.zeros_like(mask, dtype=torch.long), mask)
        losses = ((predicted - wanted).abs() * known).sum(dim=1) / known.sum(dim=1).clamp_min(1)
        return losses, torch.zeros_like(losses)


OBJECTIVES: dict[str, type[Denoising] | type[Prediction]] = {"denoise": Denoising, "predict": Prediction}
