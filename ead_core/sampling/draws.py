"""What a request with targets leaves open, drawn from the training molecules that come near to it.

One row of the checkpoint's table, drawn among the nearest (data/joint_prior.py), serves a molecule: it gives the value
within each range, and the number of atoms where that is open, so that they fit each other. What it cannot give is drawn
on its own: a value uniformly from its range, a size from the histogram. Atoms that are asked for by their elements are
part of the size, and are the size if all elements of the model are given.

Legend: M molecules, P properties of the targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.common.noise import Stream, uniform
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior, Wish
from ead_core.data.labels import PropertyStatistics
from ead_core.data.properties import count_name
from ead_core.data.targets import TargetError, Targets

Values = dict[str, NDArray[np.float64]]  # [M] by property


@dataclass(frozen=True)
class SizeBounds:
    """How many atoms each molecule [M] may have, and how many it has if no row of the table says."""

    smallest: NDArray[np.int64]
    largest: NDArray[np.int64]
    otherwise: NDArray[np.int64]

    def hold(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the sizes [M] are allowed."""
        return (sizes >= self.smallest) & (sizes <= self.largest)


def draw_open(
    prior: JointPrior, statistics: Statistics, targets: Targets, bounds: SizeBounds, seed: int, ids: Tensor
) -> tuple[NDArray[np.int64], Values]:
    """Atoms per molecule [M], and the value of each property asked for; NaN stays where a row of the targets is open.

    Raises:
        TargetError: elements and sizes contradict each other.
    """
    low, high = (ends[ids.numpy() % len(targets.rows)] for ends in targets.arrays)
    columns = torch.arange(-(-(1 + len(targets.names)) // 4))
    draws = uniform(seed, ids, 0, Stream.TARGET, columns).numpy()
    rows = _rows(prior, statistics, targets, bounds, (low, high, draws[:, 0]))
    values: Values = {}
    for index, name in enumerate(targets.names):
        of_row = np.where(rows >= 0, prior.values[rows, prior.names.index(name)], np.nan).astype(np.float64)
        seen, whole = statistics.properties[name], bool(targets.counted()[index])
        ends = low[:, index], high[:, index]
        values[name] = _in_range(of_row, *ends, _uniform_in_range(*ends, draws[:, 1 + index], seen, whole))
    atoms = np.where(rows >= 0, prior.sizes[rows], 0).astype(np.int64)
    sizes = np.where(bounds.hold(atoms), atoms, bounds.otherwise)
    return with_elements(sizes, bounds, values, statistics.atom_numbers), values


def _rows(
    prior: JointPrior, statistics: Statistics, targets: Targets, bounds: SizeBounds, ranges: tuple[NDArray, ...]
) -> NDArray[np.int64]:
    """A row of the table for each molecule; −1 for one of which nothing is asked."""
    columns = [prior.names.index(name) for name in targets.names]
    scales = np.array([statistics.properties[name].mad for name in prior.names])
    whole = np.zeros(len(prior.names), dtype=bool)
    whole[columns] = targets.counted()
    found: dict[tuple[object, ...], NDArray[np.int64]] = {}
    rows = np.full(len(bounds.smallest), -1)
    for molecule, (low, high, draw) in enumerate(zip(*ranges, strict=True)):
        if np.isnan(low).all():
            continue
        atoms = int(bounds.smallest[molecule]), int(bounds.largest[molecule])
        key = (low.tobytes(), high.tobytes(), atoms)
        if key not in found:
            ends = np.full((2, len(prior.names)), np.nan)
            ends[:, columns] = low, high
            found[key] = prior.candidates(Wish(ends[0], ends[1], whole, *atoms), scales)
        rows[molecule] = found[key][int(draw * len(found[key]))]
    return rows


def _in_range(
    of_row: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], free: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The value asked for, or that of the row if it is within the range, or the one drawn on its own."""
    return np.where(low == high, low, np.where((of_row >= low) & (of_row <= high), of_row, free))


def _uniform_in_range(
    low: NDArray[np.float64], high: NDArray[np.float64], u: NDArray[np.float64], seen: PropertyStatistics, whole: bool
) -> NDArray[np.float64]:
    """Uniform in the part of each range that training had, or in all of it if there is none; `whole`: whole numbers."""
    a, b = np.maximum(low, seen.smallest), np.minimum(high, seen.largest)
    a, b = np.where(a <= b, a, low), np.where(a <= b, b, high)
    if not whole:
        return a + u * (b - a)
    a, b = np.ceil(a), np.floor(b)
    return np.floor(a + u * (b - a + 1))


def with_elements(
    sizes: NDArray[np.int64], bounds: SizeBounds, values: Mapping[str, NDArray[np.float64]], elements: tuple[int, ...]
) -> NDArray[np.int64]:
    """The sizes, at least as large as the atoms asked for by element, and these if all elements are given."""
    nothing = np.full(len(sizes), np.nan)
    counts = np.stack([values.get(count_name(number), nothing) for number in elements])
    atoms, complete = np.nansum(counts, axis=0).astype(np.int64), ~np.isnan(counts).any(axis=0)
    wrong = np.flatnonzero((atoms > bounds.largest) | (complete & (atoms < bounds.smallest)))
    if len(wrong):
        first = wrong[0]
        allowed = " to ".join(str(end) for end in dict.fromkeys((bounds.smallest[first], bounds.largest[first])))
        raise TargetError(f"the targets ask for {atoms[first]} atoms by element, but the size is to be {allowed}.")
    return np.where(complete, atoms, np.maximum(sizes, atoms))
