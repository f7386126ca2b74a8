"""What a new molecule starts from: its number of atoms, drawn from the training distribution."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ead_core.data.dataset import Statistics
from ead_core.noise import Stream, uniform


def draw_sizes(statistics: Statistics, seed: int, ids: Tensor) -> NDArray[np.int64]:
    """Atoms per molecule [M] from the size histogram, a function of (seed, id) alone."""
    sizes, probabilities = statistics.size_distribution()
    draws = uniform(seed, ids, 0, Stream.SIZE)[:, 0].numpy()
    index = np.searchsorted(np.cumsum(probabilities), draws, side="right")
    return np.asarray(sizes)[np.minimum(index, len(sizes) - 1)].astype(np.int64)


def repeat_sizes(sizes: Sequence[int], ids: Tensor) -> NDArray[np.int64]:
    """Atoms per molecule [M] by cycling through the given sizes: molecule i has sizes[i mod len(sizes)]."""
    return np.asarray(sizes, dtype=np.int64)[ids.numpy() % len(sizes)]
