"""How training molecules of each number of atoms are spread: what a Gaussian in their place must know.

Legend: S largest number of atoms, E elements, F features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import AtomTypes


@dataclass(frozen=True)
class SizeMoments:
    """Of the training molecules with one number of atoms.

    Attributes:
        variance: of a centred coordinate in Å², per degree of freedom: Σ |x_i|² of a molecule is 3 (N − 1) times that.
        elements: [E] how many atoms of each element they have, in ascending order of the elements.
    """

    variance: float
    elements: tuple[int, ...]

    @property
    def possible(self) -> bool:
        """Whether there can be molecules of these moments."""
        return 0 <= self.variance < np.inf and min(self.elements) >= 0 < sum(self.elements)


def size_moments(molecules: MoleculeSet) -> dict[int, SizeMoments]:
    """Moments by number of atoms, in ascending order, of all sizes of which there are finite molecules."""
    numbers, types = np.unique(molecules.charges, return_inverse=True)
    owner = np.repeat(np.arange(len(molecules)), molecules.num_atoms)
    finite = molecules.finite
    places = np.where(finite[owner, None], molecules.positions, 0).astype(np.float64)
    squares = _squares_about_centroid(places, owner, molecules.num_atoms)
    moments = {}
    for size in np.unique(molecules.num_atoms[finite]).tolist():
        of_size = finite & (molecules.num_atoms == size)
        freedom = 3 * (size - 1) * int(of_size.sum())
        counts = np.bincount(types[of_size[owner]], minlength=len(numbers))
        moments[size] = SizeMoments(float(squares[of_size].sum() / max(1, freedom)), tuple(counts.tolist()))
    return moments


def _squares_about_centroid(
    positions: NDArray[np.float64], owner: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Σ |x_i − centroid|² of each molecule [M]."""
    centroids = np.stack([np.bincount(owner, axis, len(sizes)) for axis in positions.T], axis=1) / sizes[:, None]
    return np.asarray(np.bincount(owner, ((positions - centroids[owner]) ** 2).sum(axis=1), len(sizes)), np.float64)


def state_moments(
    moments: Mapping[int, SizeMoments], sizes: Mapping[int, int], atom_types: AtomTypes
) -> tuple[Tensor, Tensor]:
    """Mean and variance of an atom's channels in clean states [S + 1, 3 + F], by the number of atoms, float64.

    Numbers of atoms that no training molecule has take the moments of the nearest. Where slots may be empty, all
    molecules have S of them.

    Args:
        moments: at least of one size.
        sizes: how many training molecules have each number of atoms.
        atom_types: of the model.
    """
    known = {size: (of.variance, np.array(of.elements)) for size, of in moments.items()}
    if atom_types.has_dummies:
        known = _in_slots(moments, sizes)
    nearest = [min(known, key=lambda size: abs(size - atoms)) for atoms in range(max(known) + 1)]
    variance = torch.tensor([known[size][0] for size in nearest], dtype=torch.float64)
    shares = torch.tensor(np.stack([known[size][1] / known[size][1].sum() for size in nearest]))
    features = atom_types.features(torch.arange(len(atom_types.numbers))).double()  # [E, F]
    mean = shares @ features
    spread = shares @ features**2 - mean**2
    means = torch.cat([torch.zeros(len(mean), 3, dtype=torch.float64), mean], dim=1)
    return means, torch.cat([variance[:, None].expand(-1, 3), spread.clamp_min(0)], dim=1)


def _in_slots(
    moments: Mapping[int, SizeMoments], sizes: Mapping[int, int]
) -> dict[int, tuple[float, NDArray[np.int64]]]:
    """Variance and atoms by type, dummies first, of molecules that all have as many slots as the largest."""
    slots, molecules = max(sizes), sum(sizes.values())
    squares = sum(sizes[size] * 3 * (size - 1) * of.variance for size, of in moments.items())
    atoms = np.sum([of.elements for of in moments.values()], axis=0)
    empty = molecules * slots - atoms.sum()
    return {slots: (squares / max(1, 3 * (slots - 1) * molecules), np.array([empty, *atoms]))}
