"""What a run of `schedules.py` keeps beside its molecules: how often atoms pause at each step, when each settles.

Legend: B molecules, N padded atoms, R steps of the grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.sampling.micro_batches import MicroBatch
from ead_core.sampling.state import SamplerState


@dataclass
class Observed:
    """An engine's observer.

    Attributes:
        visits, advances: [R + 1] by grid step: moves proposed to atoms there, and moves that took them down.
        spread: [2] sum over molecules and calls of the spread of grid steps, and the number of calls.
        settled: per molecule id the call at which each atom became clean [N].
    """

    steps: int
    visits: NDArray[np.int64] = field(init=False)
    advances: NDArray[np.int64] = field(init=False)
    spread: NDArray[np.int64] = field(init=False)
    settled: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.visits, self.advances = (np.zeros(self.steps + 1, dtype=np.int64) for _ in range(2))
        self.spread = np.zeros(2, dtype=np.int64)

    def __call__(self, micro_batch: MicroBatch, after: SamplerState) -> None:
        """Count one move of the molecules of a micro-batch."""
        before, mask = micro_batch.state.grid_index, after.mask
        moving = mask & (before > 0)
        self.visits += np.bincount(before[moving].numpy(), minlength=self.steps + 1)
        self.advances += np.bincount(before[moving & (after.grid_index < before)].numpy(), minlength=self.steps + 1)
        lowest = after.grid_index.masked_fill(~mask, self.steps).amin(dim=1)
        self.spread += int((after.grid_index.amax(dim=1) - lowest).sum()), len(mask)
        done = (moving & (after.grid_index == 0)).numpy()
        for row in np.flatnonzero(done.any(axis=1)):
            number, atoms = int(after.ids[row]), int(micro_batch.labels["size"][row])
            times = self.settled.setdefault(number, np.zeros(atoms, dtype=np.int64))
            times[done[row, :atoms]] = int(after.iterations[row])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays; the atoms' times in the order of the ids."""
        times = [self.settled[number] for number in sorted(self.settled)]
        return {
            "visits": self.visits,
            "advances": self.advances,
            "spread": self.spread,
            "settled": np.concatenate(times) if times else np.zeros(0, dtype=np.int64),
        }


def joined(parts: Sequence[Mapping[str, NDArray[Any]]], order: NDArray[Any], sizes: NDArray[Any]) -> dict[str, Any]:
    """The arrays of several runs as one.

    Args:
        parts: from `Observed.arrays`.
        order: ids of the molecules in the order of the parts.
        sizes: atoms of each, in that order.
    """
    sums: dict[str, Any] = {
        key: np.sum([part[key] for part in parts], axis=0) for key in ("visits", "advances", "spread")
    }
    times = np.split(np.concatenate([part["settled"] for part in parts]), np.cumsum(sizes)[:-1])
    sums["settled"] = np.concatenate([times[place] for place in np.argsort(order)])
    return sums


def advance_rates(observed: Mapping[str, NDArray[Any]], start: int) -> list[float]:
    """P(advance) at grid steps 1 … start, the forced moves included, to four places."""
    visits, advances = observed["visits"][1 : start + 1], observed["advances"][1 : start + 1]
    return [round(float(rate), 4) for rate in advances / np.maximum(visits, 1)]
