"""The periodic check of a generator's training: how stable the molecules are that it makes."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.stability import stability
from ead_core.networks.denoiser import Denoiser
from ead_core.pictures.molecules import draw_molecules
from ead_core.sampling.generation import sample
from ead_core.training.objective import Evaluate
from ead_core.training.parallel import Workers

PICTURE = "samples.png"
DRAWN = 12


def quality_check(config: Config, statistics: Statistics, directory: Path | None) -> Evaluate | None:
    """A function for `fit` that samples synchronously and measures stability; None when switched off.

    Args:
        config: the recipe; `training.evaluate_molecules` are sampled, the same noise at every check.
        statistics: of the training data.
        directory: gets a picture of the first molecules, replaced at every check; None for no picture.
    """
    count = config.training.evaluate_molecules
    if not count:
        return None

    def check(denoiser: Denoiser, step: int) -> Mapping[str, float]:
        checkpoint = Checkpoint(f"step-{step}", config, statistics, denoiser)
        molecules = sample_together(checkpoint, count)
        if directory is not None and Workers.joined().leads:
            draw_molecules(molecules.select(range(min(count, DRAWN))), directory / PICTURE)
        result = stability(molecules)
        return {"atom_stability": result.atom_stability, "molecule_stability": float(result.stable.mean())}

    return check


def sample_together(checkpoint: Checkpoint, count: int) -> MoleculeSet:
    """The first `count` molecules, synchronously; every worker makes a part of them, so that none waits for another."""
    workers = Workers.joined()
    part = workers.part(count)
    mine = [sample(checkpoint, len(part), first=part.start, policy="synchronous")] if part else []
    return MoleculeSet.concatenate(list(chain.from_iterable(workers.gather(mine))))
