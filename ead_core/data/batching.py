"""Batches of (nearly) equal-size molecules: dense edge tensors cost N², so padding is expensive to compute.

The order of a training run is a function of (seed, epoch) alone, so a run can resume at any step.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import AtomTypes, MoleculeBatch, centre, size_mask


class TrainingBatches:
    """Shuffled batches; molecules are sorted by size, so only a batch across two sizes is padded.

    With dummies in the vocabulary there is nothing to sort: every molecule gets as many slots as the largest has
    atoms, all of them count as atoms, and the empty ones are at its centre.

    Args:
        molecules: training set.
        atom_types: vocabulary; DataError if the set holds another element.
        batch_size: B; only the last batch of the sorted order may be smaller.
        seed: of the shuffles.
        context: [M, 2P] what is known of each molecule as a whole.
    """

    def __init__(
        self,
        molecules: MoleculeSet,
        atom_types: AtomTypes,
        batch_size: int,
        seed: int,
        context: torch.Tensor | None = None,
    ) -> None:
        self.molecules, self.batch_size, self.seed = molecules, batch_size, seed
        self._context = context
        self._slots = int(molecules.num_atoms.max()) if atom_types.has_dummies else None
        self._types = atom_types.types(torch.from_numpy(molecules.charges))
        self._positions = torch.from_numpy(molecules.positions)
        self._offsets = molecules.offsets
        self._epoch = -1
        self._order: list[NDArray] = []

    @property
    def per_epoch(self) -> int:
        """Number of batches in one pass over the data."""
        return -(-len(self.molecules) // self.batch_size)

    def batch(self, step: int) -> MoleculeBatch:
        """The batch of optimiser step `step` (counted from 0 over all epochs)."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self._shuffle(epoch), epoch
        return self.gather(self._order[position])

    def gather(self, indices: Sequence[int] | NDArray) -> MoleculeBatch:
        """The molecules at `indices`, padded to the largest of them or filled up with dummies."""
        indices = np.asarray(indices)
        sizes = self.molecules.num_atoms[indices]
        mask = size_mask(sizes, self._slots)
        atoms = self._offsets[indices][:, None] + np.minimum(np.arange(mask.shape[1])[None, :], sizes[:, None] - 1)
        positions, types = self._positions[atoms] * mask[..., None], self._types[atoms] * mask
        examples = torch.from_numpy(indices)
        context = None if self._context is None else self._context[examples]
        if self._slots is None:
            return MoleculeBatch(positions, types, mask, context, examples)
        return MoleculeBatch(centre(positions, mask), types, torch.ones_like(mask), context, examples)

    def _shuffle(self, epoch: int) -> list[NDArray]:
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.molecules))
        if self._slots is None:
            order = order[np.argsort(self.molecules.num_atoms[order], kind="stable")]
        starts = generator.permutation(np.arange(0, len(order), self.batch_size))
        return [order[start : start + self.batch_size] for start in starts]


def size_buckets(sizes: Sequence[int] | NDArray, most: Callable[[int], int], waste: float = 0.2) -> list[NDArray]:
    """Group molecules of equal or nearly equal size for sampling.

    Args:
        sizes: [M] atoms per molecule.
        most: molecules in a batch whose largest has the given number of atoms; at least 1.
        waste: the largest share of extra N² work accepted for the smallest molecule of a batch.

    Returns:
        Index arrays that partition 0 … M − 1, smallest molecules first.
    """
    sizes = np.asarray(sizes)
    order = np.argsort(sizes, kind="stable")
    buckets: list[list[int]] = []
    for index in order:
        smallest = sizes[buckets[-1][0]] if buckets else 0
        full = not buckets or len(buckets[-1]) >= most(int(sizes[index]))
        if full or sizes[index] ** 2 > (1 + waste) * smallest**2:
            buckets.append([])
        buckets[-1].append(int(index))
    return [np.array(bucket) for bucket in buckets]
