"""What a new molecule starts from: its number of atoms, chosen or drawn from the training distribution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ead_core.common.noise import Stream, uniform
from ead_core.data.dataset import Statistics
from ead_core.errors import ConfigError


@dataclass(frozen=True)
class SizeRange:
    """Any number of atoms from `smallest` to `largest` that training molecules have, as often as they have it."""

    smallest: int
    largest: int

    def __str__(self) -> str:
        return f"{self.smallest}-{self.largest}"


def draw_sizes(statistics: Statistics, seed: int, ids: Tensor, within: SizeRange | None = None) -> NDArray[np.int64]:
    """Atoms per molecule [M] from the size histogram, a function of (seed, id) alone.

    Raises:
        ConfigError: no training molecule has a size in the range.
    """
    sizes, probabilities = statistics.size_distribution()
    if within is not None:
        chosen = (sizes >= within.smallest) & (sizes <= within.largest)
        if not chosen.any():
            raise ConfigError(
                f"no training molecule has {within} atoms (they have {sizes[0]} to {sizes[-1]}); "
                "sizes never seen can be asked for one by one, e.g. 30,31."
            )
        sizes, probabilities = sizes[chosen], probabilities[chosen] / probabilities[chosen].sum()
    draws = uniform(seed, ids, 0, Stream.SIZE)[:, 0].numpy()
    index = np.searchsorted(np.cumsum(probabilities), draws, side="right")
    return np.asarray(sizes)[np.minimum(index, len(sizes) - 1)].astype(np.int64)


def repeat_sizes(sizes: Sequence[int], ids: Tensor) -> NDArray[np.int64]:
    """Atoms per molecule [M] by cycling through the given sizes: molecule i has sizes[i mod len(sizes)]."""
    return np.asarray(sizes, dtype=np.int64)[ids.numpy() % len(sizes)]


def parse_sizes(text: str | None) -> tuple[int, ...] | SizeRange | None:
    """`15,18,21` as sizes, `15-20` as a range (ConfigError if it is neither)."""
    if text is None:
        return None
    try:
        if "-" in text:
            smallest, largest = (int(part) for part in text.split("-"))
            return SizeRange(smallest, largest)
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--sizes must be whole numbers separated by commas, or a range such as 15-20, not '{text}'."
        ) from error
