"""The averaged weights with the lowest loss on held-out molecules, and when a training has waited long enough for more.

They are kept in a file beside the state of the run, so that an interrupted run goes on with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ead_core.common.documents import Document
from ead_core.common.sealed import read_sealed, write_sealed
from ead_core.config import TrainingConfig
from ead_core.errors import EADError, one_line
from ead_core.notes import note
from ead_core.training.held_out import HELD_OUT_LOSS

BEST = "training.best.safetensors"


class BestHeader(Document):
    """Of which step the weights are, and their loss."""

    kind: ClassVar[str] = "the best weights of a training"

    version: Literal["ead-best-1"] = Field("ead-best-1", alias="format")
    step: int
    loss: float


@dataclass
class Best:
    """The best weights so far.

    Attributes:
        step: optimiser steps that they have had; 0 before the first check.
        loss: on the held-out molecules.
        weights: None before the first check, and in a training without `training.patience`.
    """

    step: int = 0
    loss: float = torch.inf
    weights: Mapping[str, Tensor] | None = None

    def see(self, figures: Mapping[str, float], step: int, weights: Mapping[str, Tensor]) -> bool:
        """Take over the weights of a check if its loss is the lowest; whether it is."""
        if figures.get(HELD_OUT_LOSS, torch.inf) >= self.loss:
            return False
        self.step, self.loss = step, figures[HELD_OUT_LOSS]
        self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        return True

    def waited(self, training: TrainingConfig, step: int) -> bool:
        """Whether a training that stands at `step` has waited for better ones as long as it should."""
        if training.patience is None or self.weights is None:
            return False
        return step - self.step >= training.patience * training.evaluate_every

    def save(self, directory: Path) -> None:
        """Write them (OutputError if they cannot be written)."""
        if self.weights is not None:
            header = BestHeader(step=self.step, loss=self.loss)
            write_sealed(directory / BEST, self.weights, header.to_texts())


def load_best(directory: Path, training: TrainingConfig, step: int) -> Best:
    """The best weights of a run that stands at `step`; none if it keeps none, or none that can be read."""
    path = directory / BEST
    if training.patience is None or not path.is_file():
        return Best()
    try:
        weights, metadata = read_sealed(path)
        header = BestHeader.parse(metadata, str(path))
    except (EADError, OSError) as error:
        note(f"{path} cannot be read ({one_line(error)}); the best weights are looked for from here on.")
        return Best()
    # of a state that is gone: the run goes on from an earlier one, and will find them again
    return Best() if header.step > step else Best(header.step, header.loss, weights)
