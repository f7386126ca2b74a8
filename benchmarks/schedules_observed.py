"""What a run of `schedules.py` keeps beside its molecules: how often atoms pause at each step, and who is ahead.

Legend: B molecules, N padded atoms, R steps of the grid.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ead_core.sampling.micro_batches import MicroBatch
from ead_core.sampling.state import SamplerState


@dataclass
class Observed:
    """An engine's observer.

    Attributes:
        grid: [R + 1] the levels of the run.
        visits, advances: [R + 1] by grid step: moves proposed to atoms there, and moves that took them down.
        spread: [2] sum over molecules and calls of the levels between the highest and the lowest atom, and the calls.
        lead: per molecule id, by how many levels each atom was below the mean of its molecule, summed over calls [N].
        calls: per molecule id, how many.
    """

    grid: Tensor
    visits: NDArray[np.int64] = field(init=False)
    advances: NDArray[np.int64] = field(init=False)
    spread: NDArray[np.int64] = field(init=False)
    lead: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    calls: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.visits, self.advances = (np.zeros(len(self.grid), dtype=np.int64) for _ in range(2))
        self.spread = np.zeros(2, dtype=np.int64)

    def __call__(self, micro_batch: MicroBatch, after: SamplerState) -> None:
        """Count one move of the molecules of a micro-batch."""
        before, mask = micro_batch.state.grid_index, after.mask
        moving = mask & (before > 0)
        self.visits += np.bincount(before[moving].numpy(), minlength=len(self.grid))
        self.advances += np.bincount(before[moving & (after.grid_index < before)].numpy(), minlength=len(self.grid))
        levels = self.grid[after.grid_index]
        lowest = levels.masked_fill(~mask, int(self.grid[-1])).amin(dim=1)
        self.spread += int((levels.amax(dim=1) - lowest).sum()), len(mask)
        mean = (levels * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
        ahead = (mean - levels).double().numpy()
        for number, atoms, row in zip(after.ids.tolist(), micro_batch.labels["size"].tolist(), ahead, strict=True):
            self.lead[number] = self.lead.get(number, 0) + row[:atoms]
        self.calls.update(after.ids.tolist())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays; the mean lead of each atom in the order of the ids."""
        leads = [self.lead[number] / self.calls[number] for number in sorted(self.lead)]
        return {
            "visits": self.visits,
            "advances": self.advances,
            "spread": self.spread,
            "lead": np.concatenate(leads) if leads else np.zeros(0),
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
    leads = np.split(np.concatenate([part["lead"] for part in parts]), np.cumsum(sizes)[:-1])
    sums["lead"] = np.concatenate([leads[place] for place in np.argsort(order)])
    return sums


def advance_rates(observed: Mapping[str, NDArray[Any]], start: int) -> list[float]:
    """P(advance) at grid steps 1 … start, the forced moves included, to four places."""
    visits, advances = observed["visits"][1 : start + 1], observed["advances"][1 : start + 1]
    return [round(float(rate), 4) for rate in advances / np.maximum(visits, 1)]
