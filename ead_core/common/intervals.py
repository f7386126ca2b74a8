"""Intervals, of 95 % unless another is asked for, and tests for shares of molecules.

Proportions have Wilson intervals, pooled shares a bootstrap over molecules, paired runs (equal seeds) the
exact test of McNemar and the interval of Newcombe. Shares of distinct molecules are never bootstrapped:
drawing with replacement makes duplicates by itself (a uniqueness of .99 would become .63).
"""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.errors import DataError

Interval = tuple[float, float]

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
_TAILS = (2.5, 97.5)  # percent


def two_sided(confidence: float) -> float:
    """The quantile of the normal distribution that bounds a two-sided interval, 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(successes: float, total: float, z: float = Z95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); (0, 1) where nothing was tried.

    Counts need not be whole: those of weighted observations are effective numbers.
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = successes / total, z**2
    centre = (successes + z2 / 2) / (total + z2)
    half = z * math.sqrt(total * share * (1 - share) + z2 / 4) / (total + z2)
    low = centre - half if successes else 0.0  # exact at the ends, where rounding would leave 1e-17
    high = centre + half if successes < total else 1.0
    return low, high


def pooled_bootstrap(successes: NDArray[Any], totals: NDArray[Any], draws: int = 2000, seed: int = 0) -> Interval:
    """Percentile interval of Σ successes / Σ totals, resampling molecules and not their parts.

    Molecules with equal counts are interchangeable, so each draw is one multinomial over the distinct pairs.

    Args:
        successes: [M] counts per molecule.
        totals: [M] counts per molecule, each ≥ 1.
        draws: resampled sets.
        seed: of the resampling.
    """
    pairs, counts = np.unique(np.stack([successes, totals], axis=1), axis=0, return_counts=True)
    resampled = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=draws) @ pairs
    low, high = np.percentile(resampled[:, 0] / resampled[:, 1], _TAILS)
    return float(low), float(high)


def distinct_shares(
    labels: Sequence[Hashable | None], size: int, draws: int = 200, seed: int = 0
) -> NDArray[np.float64]:
    """Share of distinct labels in random subsets of `size`, drawn without replacement, [draws].

    The share of distinct molecules falls with the number generated, so two runs are compared at equal size.

    Args:
        labels: M labels; None counts in the size but is never distinct (an invalid molecule).
        size: of a subset, 1 to M.
        draws: subsets.
        seed: of the subsets.

    Raises:
        DataError: a size outside 1 to M.
    """
    if not 1 <= size <= len(labels):
        raise DataError(f"a subset of {len(labels)} molecules has 1 to {len(labels)} of them, not {size}.")
    numbers: dict[Hashable, int] = {}
    codes = np.array([-1 if x is None else numbers.setdefault(x, len(numbers)) for x in labels])
    rng = np.random.default_rng(seed)
    shares = np.zeros(draws)
    for draw in range(draws):
        seen = np.zeros(len(numbers) + 1, dtype=bool)  # the last place takes the code -1
        seen[rng.permutation(codes)[:size]] = True
        shares[draw] = seen[:-1].sum() / size
    return shares


def distinct_interval(labels: Sequence[Hashable | None], draws: int = 200, seed: int = 0) -> Interval:
    """Interval of the share of distinct labels among all M labels.

    Random halves (without replacement) spread as much as the whole would where labels repeat often: half the
    size doubles the variance, the finite set halves it. Where repeats are rare they are Poisson counts, for
    which Wilson's interval is right and the halves are too sure. Each end is the wider of the two.

    Args:
        labels: M labels, None for what is never distinct.
        draws: random halves.
        seed: of the halves.
    """
    total, distinct = len(labels), len(set(labels) - {None})
    low, high = wilson(distinct, total)
    if total < 2:
        return low, high
    halves = distinct_shares(labels, total // 2, draws, seed)
    below, above = np.percentile(halves - halves.mean(), _TAILS) + distinct / total
    return max(min(low, float(below)), 0.0), min(max(high, float(above)), 1.0)


class PairedDifference(NamedTuple):
    """Share of b minus share of a over the same molecules.

    Attributes:
        difference: of the shares.
        interval: Newcombe's method 10.
        p_value: McNemar's exact test, two-sided.
        only_a: molecules on which only a succeeds.
        only_b: molecules on which only b succeeds.
    """

    difference: float
    interval: Interval
    p_value: float
    only_a: int
    only_b: int


def paired_difference(a: NDArray[np.bool_], b: NDArray[np.bool_], z: float = Z95) -> PairedDifference:
    """Compare two runs molecule by molecule: what one changed is separated from what the seeds decide.

    Args:
        a: [M] success per molecule.
        b: [M] success of the same molecules.
        z: from `two_sided`.

    Raises:
        DataError: different lengths, or none at all.
    """
    if len(a) != len(b) or not len(a):
        raise DataError(f"a paired comparison needs the same molecules twice, not {len(a)} and {len(b)}.")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    interval = _newcombe(int((b & a).sum()), only_b, only_a, int((~a & ~b).sum()), z)
    return PairedDifference((only_b - only_a) / len(a), interval, mcnemar(only_a, only_b), only_a, only_b)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of the discordant pairs falling like a fair coin (McNemar 1947)."""
    count = only_a + only_b
    term, tail = 1, 0
    for k in range(min(only_a, only_b) + 1):  # Σ C(n, k) in exact integers
        tail += term
        term = term * (count - k) // (k + 1)
    return min(1.0, tail / 2 ** (count - 1)) if count else 1.0


def _newcombe(both: int, first: int, second: int, neither: int, z: float) -> Interval:
    """Interval of (first − second) / M by Wilson intervals of both shares and their correlation.

    Newcombe, Stat. Med. 17, 2635 (1998), method 10 (the correlation has a continuity correction).
    """
    total = both + first + second + neither
    share1, share2 = (both + first) / total, (both + second) / total
    (low1, high1), (low2, high2) = wilson(both + first, total, z), wilson(both + second, total, z)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    covariance: float = both * neither - first * second
    if covariance > 0:
        covariance = max(covariance - total / 2, 0)
    phi = covariance / math.sqrt(margins) if margins else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    difference = share1 - share2
    low = difference - reach(share1 - low1, high2 - share2)
    high = difference + reach(high1 - share1, share2 - low2)
    return low, high


def mean_interval(values: NDArray[Any], z: float = Z95) -> Interval:
    """Normal interval of a mean of M ≥ 1 values; without width for one."""
    half = z * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def median_interval(values: NDArray[Any]) -> Interval:
    """Interval of a median of M ≥ 1 values by its order statistics, whatever the distribution.

    The ranks are those between which a fair coin's successes in M throws lie, in the normal approximation; Conover,
    Practical Nonparametric Statistics (1999), section 3.2.
    """
    ordered, half = np.sort(values), Z95 * math.sqrt(len(values)) / 2
    low = max(math.ceil(len(values) / 2 - half), 1)
    high = min(math.ceil(len(values) / 2 + half + 1), len(values))
    return float(ordered[low - 1]), float(ordered[high - 1])


class IndependentDifference(NamedTuple):
    """Share of b minus share of a over different molecules; Newcombe's interval, and the p-value of a pooled z-test."""

    difference: float
    interval: Interval
    p_value: float


def independent_difference(hits_a: int, total_a: int, hits_b: int, total_b: int) -> IndependentDifference:
    """Compare two shares of independent samples; Newcombe, Stat. Med. 17, 873 (1998), method 10.

    Raises:
        DataError: nothing was tried in one of them.
    """
    if not (total_a and total_b):
        raise DataError("a share of no molecules cannot be compared.")
    a, b = hits_a / total_a, hits_b / total_b
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, total_a), wilson(hits_b, total_b)
    interval = (b - a - math.hypot(b - low_b, high_a - a), b - a + math.hypot(high_b - b, a - low_a))
    pooled = (hits_a + hits_b) / (total_a + total_b)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / total_a + 1 / total_b))
    p_value = math.erfc(abs(b - a) / spread / math.sqrt(2)) if spread else 1.0
    return IndependentDifference(b - a, interval, p_value)
