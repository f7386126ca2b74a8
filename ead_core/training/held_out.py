"""The loss of a generator on molecules that it does not learn from, with the same noise at every check."""

from collections.abc import Mapping

import numpy as np
import torch

from ead_core.data.batching import TrainingBatches
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.networks.denoiser import Denoiser
from ead_core.training.objective import Evaluate, Objective, TrainingStep
from ead_core.training.parallel import Workers

HELD_OUT_LOSS = "held_out_loss"
DRAWS = 256  # noised molecules; a small set is noised several times


def held_out_check(objective: Objective, held_out: MoleculeSet) -> Evaluate:
    """A function for `fit` that measures the mean loss, each worker a part of it.

    Args:
        objective: a generator's.
        held_out: some of them where there are more than `DRAWS`.

    Raises:
        DataError: there are none.
    """
    if not len(held_out):
        raise DataError("training.patience needs validation molecules, and the data have none.")
    training = objective.config.training
    places = np.resize(np.random.default_rng(0).permutation(len(held_out)), DRAWS)
    batches = TrainingBatches(held_out.select(places), objective.atom_types, training.batch_size, seed=0)

    @torch.no_grad()
    def check(denoiser: Denoiser, step: int) -> Mapping[str, float]:
        workers = Workers.joined()
        mine = 0.0
        for number in workers.part(batches.per_epoch):
            batch = batches.batch(number).to(workers.device)
            generator = torch.Generator(device=workers.device).manual_seed(number)
            rows = torch.arange(len(batch.mask))
            losses, _ = objective.losses(TrainingStep(denoiser, denoiser, {}, batch, rows, generator))
            mine += float(losses.sum())
        return {HELD_OUT_LOSS: sum(workers.gather(mine)) / DRAWS}

    return check
