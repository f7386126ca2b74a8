"""A data set as training sees it: where its file is, how it is split, and what a model must know of it."""

import hashlib
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ead_core.data.columns import known_values
from ead_core.data.labels import Labels, PropertyStatistics, summarise
from ead_core.data.size_moments import SizeMoments, size_moments
from ead_core.data.sources import molecule_files
from ead_core.data.statistics_document import StatisticsDocument
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError

PUBLISHED_TOTAL = 130_831  # QM9 without its 3,054 uncharacterised molecules
PUBLISHED_TRAIN, PUBLISHED_VALID = 100_000, 17_748  # the other 13,083 are the test set
SEEDED_SHARE = 0.1  # of valid and of test


def resolve_data_path(path: str) -> Path:
    """The data file that a recipe means.

    An absolute path stays as it is; a relative one is looked up in the folder $EAD_DATA, if that is set, and
    then in the working folder.

    Raises:
        DataError: the file is in none of these places.
    """
    folders = [Path(folder) for folder in (os.environ.get("EAD_DATA"), Path.cwd()) if folder]
    places = [Path(path)] if Path(path).is_absolute() else [folder / path for folder in folders]
    for place in places:
        if place.exists():
            return place
    hint = "" if len(places) != 1 or Path(path).is_absolute() else " ($EAD_DATA is not set)"
    raise DataError(f"data file {path} does not exist; tried {' and '.join(map(str, places))}{hint}.")


@dataclass(frozen=True)
class Split:
    """Indices into a `MoleculeSet`, disjoint, together all of it."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]


def split_indices(
    molecules: MoleculeSet, kind: Literal["auto", "published", "seeded"] = "auto", seed: int = 0
) -> Split:
    """Divide a set into training, validation and test molecules.

    Args:
        molecules: the whole set.
        kind: `published` is the QM9 split of the literature (EDM and its successors); `seeded` draws
            80/10/10, at least one molecule in each if there are three, and keeps all conformers of a molecule
            (equal property `molecule`, where it is known) together; `auto` is `published` where that applies,
            else `seeded`.
        seed: of the seeded split.

    Raises:
        DataError: `published` for a set that is not the 130,831 molecules with GDB9 numbers (`index`).
    """
    published = _is_published(molecules)
    if kind == "published" and not published:
        raise DataError(
            f"the published split needs QM9's {PUBLISHED_TOTAL:,} molecules with distinct GDB9 numbers "
            f"(property 'index'), but this set has {len(molecules):,} molecules; use split 'seeded'."
        )
    return _seeded(molecules, seed) if kind == "seeded" or not published else _published(molecules)


def _is_published(molecules: MoleculeSet) -> bool:
    index = np.asarray(molecules.properties.get("index", ""))
    numbers = index.dtype.kind in "iuf" and not np.isnan(index).any()
    return numbers and len(molecules) == PUBLISHED_TOTAL == len(np.unique(index))


def _published(molecules: MoleculeSet) -> Split:
    """Legacy permutation over the GDB9 order; each part in ascending GDB9 order."""
    by_number = np.argsort(molecules.properties["index"])
    # The published split is defined by NumPy's legacy generator, seed 0.
    permutation = np.random.RandomState(0).permutation(PUBLISHED_TOTAL)
    parts = np.split(permutation, [PUBLISHED_TRAIN, PUBLISHED_TRAIN + PUBLISHED_VALID])
    return Split(*(by_number[np.sort(part)] for part in parts))


def _seeded(molecules: MoleculeSet, seed: int) -> Split:
    """Shuffle groups of conformers (or single molecules) and cut the list of groups."""
    group = _groups(molecules)
    total = int(group.max()) + 1 if len(group) else 0
    held_out = max(round(SEEDED_SHARE * total), 1)
    train = max(total - 2 * held_out, min(total, 1))
    order = np.random.default_rng(seed).permutation(total)
    parts = np.split(order, [train, min(train + held_out, total)])
    return Split(*(np.flatnonzero(np.isin(group, part)) for part in parts))


def _groups(molecules: MoleculeSet) -> NDArray[np.int64]:
    """A number for each molecule [M], equal for those of one name; a molecule without a name is by itself."""
    names = np.asarray(molecules.properties.get("molecule", ""))
    groups = np.arange(len(molecules), 2 * len(molecules))  # beyond the numbers of names
    if names.ndim == 1:
        known = known_values(names)
        groups[known] = np.unique(names[known], return_inverse=True)[1]
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Statistics:
    """What sampling and checkpoints need to know of the training molecules.

    Attributes:
        atom_numbers: the elements, ascending.
        sizes: number of molecules of each number of atoms.
        num_molecules: how many molecules these are.
        name: of the data set, for people.
        sha256: of the data file.
        properties: those that a conditional model is given, in the order of its context.
        moments: of the molecules of each number of atoms; empty in checkpoints of before, until they are added.
    """

    atom_numbers: tuple[int, ...]
    sizes: dict[int, int]
    num_molecules: int
    name: str
    sha256: str
    properties: dict[str, PropertyStatistics] = field(default_factory=dict)
    moments: dict[int, SizeMoments] = field(default_factory=dict)

    def size_distribution(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The sizes in ascending order and their probabilities, which add up to 1."""
        sizes = np.array(sorted(self.sizes), dtype=np.int64)
        counts = np.array([self.sizes[size] for size in sizes.tolist()], dtype=np.float64)
        return sizes, counts / counts.sum()

    def to_json(self) -> dict[str, Any]:
        """A document for JSON, whose keys are all text."""
        known = {name: value for name, value in vars(self).items() if value or name not in ("properties", "moments")}
        return StatisticsDocument(**known).to_json()

    @classmethod
    def from_json(cls, stored: Any, name: str = "the document") -> "Statistics":
        """The inverse of `to_json`.

        Args:
            stored: a JSON value.
            name: by which people know it.

        Raises:
            DataError: it is damaged, contradicts itself, or is of a version that this program does not read.
        """
        document = StatisticsDocument.parse(stored, name)
        return cls(**{field.name: getattr(document, field.name) for field in fields(cls)})


def compute_statistics(molecules: MoleculeSet, *, name: str, sha256: str, labels: Labels | None = None) -> Statistics:
    """Elements, sizes and moments of a set, and its `labels`; `name` and `sha256` say which file it comes from.

    Raises:
        DataError: a property without labels, or with one value only.
    """
    sizes, counts = np.unique(molecules.num_atoms, return_counts=True)
    return Statistics(
        atom_numbers=tuple(np.unique(molecules.charges).tolist()),
        sizes=dict(zip(sizes.tolist(), counts.tolist(), strict=True)),
        num_molecules=len(molecules),
        name=name,
        sha256=sha256,
        properties=summarise(labels or {}),
        moments=size_moments(molecules),
    )


def file_sha256(path: Path | str) -> str:
    """SHA-256 by which a checkpoint recognises its training data: of a file's content, or of those of a folder."""
    path = Path(path)
    if path.is_dir():
        return hashlib.sha256(" ".join(map(file_sha256, molecule_files(path))).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
