"""A trained predictor of properties, with how far it is to be trusted.

Legend: M molecules, P properties.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.checkpoints.checkpoint import load_network, vocabulary, weights_digest
from ead_core.common.noise import Stream, uniforms
from ead_core.config import Config
from ead_core.data.batching import TrainingBatches, size_buckets
from ead_core.data.dataset import Statistics
from ead_core.data.store import MoleculeSet
from ead_core.errors import CheckpointError
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.memory import molecules_per_call
from ead_core.networks.predictor import Predictor
from ead_core.prediction.calibration import Calibration, load_calibration

BATCH = 256


@dataclass(frozen=True)
class Judge:
    """What a recipe with `training.objective=predict` makes.

    Attributes:
        name: of its folder.
        config: its recipe.
        statistics: of its training data.
        predictor: the network.
        calibration: errors on molecules that training had not seen, by property.
    """

    name: str
    config: Config
    statistics: Statistics
    predictor: Predictor
    calibration: Calibration

    @cached_property
    def fingerprint(self) -> str:
        """Equal for judges with equal weights."""
        return weights_digest(self.predictor.state_dict())


def load_judge(name_or_path: str | Path) -> Judge:
    """Load a bundled judge by name or any by its folder.

    Raises:
        CheckpointError: missing, incomplete, corrupt, a generator, or not calibrated.
    """
    directory, config, statistics, predictor = load_network(name_or_path)
    if not isinstance(predictor, Predictor):
        raise CheckpointError(f"{directory} generates molecules; a judge is trained with training.objective=predict.")
    calibration = load_calibration(directory, weights_digest(predictor.state_dict()))
    return Judge(directory.resolve().name, config, statistics, predictor, calibration)


@torch.inference_mode()
def predict(
    predictor: Predictor, config: Config, statistics: Statistics, molecules: MoleculeSet
) -> dict[str, NDArray[np.float64]]:
    """Properties [M] in border units.

    Args:
        predictor: the network.
        config: its recipe.
        statistics: of its training data.
        molecules: of its elements.

    Raises:
        DataError: an element that the predictor does not know.
        ConfigError: a molecule too large for `sampler.memory_budget`.
    """
    types = vocabulary(config, statistics)
    batches = TrainingBatches(molecules, types, BATCH, 0)
    weight, found = next(predictor.parameters()), np.zeros((len(molecules), predictor.properties))

    def most(atoms: int) -> int:
        return min(BATCH, molecules_per_call(predictor, atoms, config.sampler.memory_budget))

    def draws(rows: NDArray[np.int64]) -> Tensor | None:
        """What the network asks for, the same for a molecule at a place whatever its company."""
        ids, count = torch.from_numpy(rows).to(weight.device), predictor.network.num_draws
        return uniforms(0, ids, 0, Stream.NETWORK, count, weight.dtype) if count else None

    for rows in size_buckets(molecules.num_atoms, most):
        batch = batches.gather(rows).to(weight.device)
        levels = torch.zeros_like(batch.mask, dtype=torch.long)
        inputs = DenoiserInput(batch.state(types).to(weight.dtype), levels, batch.mask, draws=draws(rows))
        found[rows] = predictor(inputs).double().cpu().numpy()
    return {
        name: seen.mean + seen.mad * found[:, index] for index, (name, seen) in enumerate(statistics.properties.items())
    }
