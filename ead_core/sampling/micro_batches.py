"""Molecules that share network calls: how they are held, and how they are grouped by size.

Legend: B molecules, N padded atoms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ead_core.data.batching import size_buckets
from ead_core.diffusion.process import Process
from ead_core.sampling.state import SamplerState, join

# Whose a molecule is: its request, its place there, its atoms, and the engine's clock when it began. Then its branch
# (branching.py; −1 before it is split), the step of the grid at which this is decided on, 0 for none, and how far the
# branch is from its targets, NaN before that is known.
LABEL = np.dtype(
    [
        *((name, np.int64) for name in ("request_id", "place", "size")),
        ("begun", np.float64),
        *(("branch", np.int64), ("due", np.int64), ("score", np.float64)),
    ]
)


@dataclass(frozen=True)
class MicroBatch:
    """Molecules to which the next network call does the same.

    Attributes:
        process: how they move.
        clean: whether the call decodes them; if not, it moves them.
        labels: [B] of type LABEL.
        state: of the B molecules.
        foreseen: whether they are judged by what the call predicts of them.
    """

    process: Process
    clean: bool
    labels: NDArray[Any]
    state: SamplerState
    foreseen: bool = False

    def select(self, rows: NDArray[Any]) -> "MicroBatch":
        """The molecules at `rows` (indices or a boolean mask)."""
        where = torch.from_numpy(rows).to(self.state.z.device)
        return replace(self, labels=self.labels[rows], state=self.state.select(where))


def merge(micro_batches: Sequence[MicroBatch]) -> MicroBatch:
    """Micro-batches that differ in their molecules alone as one, as wide as the widest."""
    width = max(micro_batch.state.mask.shape[1] for micro_batch in micro_batches)
    state = join([micro_batch.state.resize(width) for micro_batch in micro_batches])
    return replace(
        micro_batches[0], labels=np.concatenate([micro_batch.labels for micro_batch in micro_batches]), state=state
    )


def grouped(micro_batches: Sequence[MicroBatch], most: Callable[[int], int]) -> list[list[MicroBatch]]:
    """Cut and group micro-batches so that each group, of equal width, holds molecules of nearly equal size.

    Args:
        micro-batches: of any widths.
        most: molecules that one network call takes, by the atoms of the largest.
    """
    if not micro_batches:
        return []
    owner = np.concatenate(
        [np.full(len(micro_batch.labels), number) for number, micro_batch in enumerate(micro_batches)]
    )
    row = np.concatenate([np.arange(len(micro_batch.labels)) for micro_batch in micro_batches])
    sizes = np.concatenate([micro_batch.labels["size"] for micro_batch in micro_batches])
    groups = []
    for chosen in size_buckets(sizes, most):
        parts = [
            micro_batches[number].select(row[chosen[owner[chosen] == number]]) for number in np.unique(owner[chosen])
        ]
        width = int(sizes[chosen].max())
        groups.append([replace(part, state=part.state.resize(width)) for part in parts])
    return groups
