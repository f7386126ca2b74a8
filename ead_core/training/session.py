"""From a recipe to what `fit` needs: data, split, statistics, and the periodic quality check."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import Config
from ead_core.data.dataset import (
    Statistics,
    compute_statistics,
    file_sha256,
    resolve_data_path,
    split_indices,
)
from ead_core.data.formats import read_molecules
from ead_core.data.labels import labels_of
from ead_core.data.losses import Losses
from ead_core.data.properties import implausible
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import AtomTypes
from ead_core.evaluation.stability import stability
from ead_core.networks.denoiser import Denoiser
from ead_core.notes import note
from ead_core.pictures.molecules import draw_molecules
from ead_core.sampling.generation import sample
from ead_core.training.fit import Evaluate
from ead_core.training.parallel import Workers

PICTURE = "samples.png"
DRAWN = 12


@dataclass(frozen=True)
class Session:
    """The three parts of the data set a recipe names, and the statistics of its training part."""

    train: MoleculeSet
    valid: MoleculeSet
    test: MoleculeSet
    statistics: Statistics

    @property
    def atom_types(self) -> AtomTypes:
        """Elements of the training part."""
        return AtomTypes(self.statistics.atom_numbers)


def prepare(config: Config) -> Session:
    """Read and split the data of a recipe, and tell what reading has left out and which labels may be in another unit.

    Raises:
        DataError: the file is missing, unreadable, or holds no usable molecule, or not the properties of the recipe.
    """
    path = resolve_data_path(config.data.path)
    report = read_molecules(path)
    molecules = report.molecules
    Losses([report]).tell()
    for sentence in implausible(molecules, config.conditioning.properties):
        note(sentence)
    split = split_indices(molecules, config.data.split, config.data.split_seed)
    train = molecules.select(split.train)
    labels = labels_of(train, config.conditioning, config.data.split_seed)
    statistics = compute_statistics(train, name=path.name, sha256=file_sha256(path), labels=labels)
    return Session(train, molecules.select(split.valid), molecules.select(split.test), statistics)


def evaluation(config: Config, session: Session, directory: Path | None) -> Evaluate | None:
    """What `fit` calls now and then: the quality check of a generator, or the calibration of a judge.

    Raises:
        DataError: a judge's property of which no held-out molecule has a label.
    """
    if config.training.objective == "denoise":
        return quality_check(config, session.statistics, directory)
    from ead_core.training.calibrating import calibration_check

    return calibration_check(config, session.statistics, session.valid, session.test, directory)


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
