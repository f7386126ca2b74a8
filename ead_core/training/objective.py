"""What an objective must offer: what a network is trained for, with everything that follows from it.

Legend: B molecules, N padded atoms, P properties, R molecules of one worker.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ead_core.checkpoints.checkpoint import NETWORKS, vocabulary
from ead_core.config import Config
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import Labels
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import AtomTypes, MoleculeBatch
from ead_core.networks.denoiser import Denoiser
from ead_core.networks.inputs import DenoiserFunction
from ead_core.networks.predictor import Predictor
from ead_core.training.initial import initial_weights

if TYPE_CHECKING:
    from ead_core.training.session import Session

Evaluate = Callable[[Any, int], Mapping[str, float]]  # figures of the averaged network after so many steps


@dataclass(frozen=True)
class TrainingStep:
    """What the losses of one optimiser step are computed from.

    Attributes:
        network: what is trained.
        model: the same in the precision of training, as `Workers.wrap` has it.
        averaged: the averaged weights before this step, by the names of the parameters of `network`.
        batch: B molecules, the same for all workers.
        rows: those that this worker computes [R].
        generator: of the random numbers of this step.
    """

    network: Denoiser | Predictor
    model: DenoiserFunction
    averaged: Mapping[str, Tensor]
    batch: MoleculeBatch
    rows: Tensor
    generator: torch.Generator

    def draws(self) -> Tensor | None:
        """The random numbers that the network asks for [R, K]; None if it asks for none."""
        count, mask = self.network.network.num_draws, self.batch.mask
        if not count:
            return None
        return torch.rand((len(mask), count), generator=self.generator, device=mask.device)[self.rows]


@dataclass(frozen=True)
class Objective(ABC):
    """What a recipe trains a network for.

    Attributes:
        config: the recipe.
        statistics: of the training data.
        memory: tensors that losses read and change, stored with the progress of the run; most objectives have none.
        generates: whether the checkpoint generates molecules.
    """

    generates: ClassVar[bool]
    config: Config
    statistics: Statistics
    memory: dict[str, Tensor] = field(default_factory=dict)

    @property
    def atom_types(self) -> AtomTypes:
        """The element vocabulary of the model."""
        return vocabulary(self.config, self.statistics)

    def network(self) -> Denoiser | Predictor:
        """What is trained, with fresh weights: what a checkpoint of the objective holds."""
        return NETWORKS[self.config.training.objective](self.config, self.statistics)

    def at_start(self) -> Denoiser | Predictor:
        """The same with the weights of `training.initial`, or with such as depend on `training.seed` alone.

        Raises:
            CheckpointError: `training.initial` names no checkpoint, or one of another model.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.training.seed)
            network = self.network()
        if self.config.training.initial is not None:
            network.load_state_dict(network.state_dict() | initial_weights(self.config, self.statistics))
        return network

    @abstractmethod
    def examples(self, molecules: MoleculeSet, labels: Labels) -> tuple[TrainingBatches, JointPrior | None]:
        """What is learnt from, and the table of it that a conditional checkpoint keeps.

        Args:
            molecules: of the training part.
            labels: their properties; none in a recipe without any.
        """

    @abstractmethod
    def losses(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """Losses and mean relative noise levels [R] of the molecules of this worker.

        All that is random is drawn for the whole batch, so that it does not depend on the number of workers.
        """

    @abstractmethod
    def evaluation(self, session: "Session", directory: Path | None) -> Evaluate | None:
        """What measures the averaged network now and then during training; None if nothing does.

        Args:
            session: the parts of the data.
            directory: of the checkpoint; None to write nothing.

        Raises:
            DataError: the data do not suffice for it.
        """
