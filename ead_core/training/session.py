"""From a recipe to what `fit` needs: data, split and statistics."""

from dataclasses import dataclass

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
from ead_core.notes import note_all


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
    """Read and split the data of a recipe, and report what reading left out and which labels may be in another unit.

    Raises:
        DataError: the file is missing, unreadable, or holds no usable molecule, or not the properties of the recipe.
    """
    path = resolve_data_path(config.data.path)
    report = read_molecules(path)
    molecules = report.molecules
    Losses([report]).tell()
    note_all(implausible(molecules, config.conditioning.properties))
    split = split_indices(molecules, config.data.split, config.data.split_seed)
    train = molecules.select(split.train)
    labels = labels_of(train, config.conditioning, config.data.split_seed)
    statistics = compute_statistics(train, name=path.name, sha256=file_sha256(path), labels=labels)
    return Session(train, molecules.select(split.valid), molecules.select(split.test), statistics)
