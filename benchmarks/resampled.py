"""Intervals of what several programs compute of sums over molecules: ratios, and differences of them, by bootstrap.

Molecules are drawn, not their parts. Equal numbers of molecules are always drawn alike, so that ratios of two rows of
the same molecules can be subtracted draw by draw, which makes the interval that of a paired difference.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000


def ratios(parts: NDArray[Any], wholes: NDArray[Any]) -> NDArray[np.float64]:
    """Σ parts / Σ wholes [1 + DRAWS, …], first of the molecules as they are; both are sums of each of M, [M, …]."""
    count = len(parts)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    weights = np.concatenate([np.ones((1, count)), drawn])
    with np.errstate(invalid="ignore", divide="ignore"):  # where nothing was measured
        return np.asarray(np.tensordot(weights, parts, 1) / np.tensordot(weights, wholes, 1))


def with_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The first of values [1 + DRAWS], and the interval of 95 % that the others span."""
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return float(values[0]), float(low), float(high)
