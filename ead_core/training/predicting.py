"""The objective `predict`: to predict the properties of a finished molecule, which makes a judge."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ead_core.data.batching import TrainingBatches
from ead_core.data.labels import Labels
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.context import conditioned, encode
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.precision import weight_type
from ead_core.training.calibrating import calibration_check
from ead_core.training.objective import Evaluate, Objective, TrainingStep

if TYPE_CHECKING:
    from ead_core.training.session import Session


@dataclass(frozen=True)
class Predicting(Objective):
    """Mean absolute deviation from the known properties, in units of each property's own."""

    generates: ClassVar[bool] = False

    def examples(self, molecules: MoleculeSet, labels: Labels) -> tuple[TrainingBatches, None]:
        """The molecules with a label: nothing is learnt from others."""
        training = self.config.training
        context = encode(labels, self.statistics.properties, len(molecules))
        known = conditioned(context)
        some = molecules.select(known.numpy())
        return TrainingBatches(some, self.atom_types, training.batch_size, training.seed, context[known]), None

    def losses(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """The losses of a training step, with all levels at 0 (see `Objective`)."""
        batch, rows = step.batch, step.rows
        assert batch.context is not None  # the labels
        state, mask = batch.state(self.atom_types)[rows], batch.mask[rows]
        state = state.to(weight_type(self.config.training.precision))
        wanted, known = batch.context[rows].to(state.dtype).unflatten(1, (-1, 2)).unbind(dim=-1)
        clean = torch.zeros_like(mask, dtype=torch.long)
        predicted = step.model(DenoiserInput(state, clean, mask, draws=step.draws()))
        losses = ((predicted - wanted).abs() * known).sum(dim=1) / known.sum(dim=1).clamp_min(1)
        return losses, torch.zeros_like(losses)

    def evaluation(self, session: "Session", directory: Path | None) -> Evaluate:
        """The errors on what it does not learn from (DataError if no such molecule has a label of a property)."""
        return calibration_check(self.config, self.statistics, session.valid, session.test, directory)
