"""What two independent methods tell of the errors of one of them, on molecules whose truth nobody knows.

On real molecules with labels the errors of both are known. On others only the difference of the two is, and that of
GFN2-xTB is the larger part of it: so a mean difference half as large again does not mean that the judge errs half as
much again. `widening` takes that into account.

Legend: M molecules, F features, P properties.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from ead_core.common.intervals import Interval

WIDTH, RIDGE = 2.0, 1e-3  # of the correction; chosen on a quarter of the molecules that it is fitted to
MOST = 20.0  # of a widening
TAILS = (2.5, 97.5)  # percent

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correction:
    """Labels from what GFN2-xTB says, by kernel ridge regression on M molecules.

    Attributes:
        known: their features [M, F], of mean 0 and spread 1.
        centre, scale: of the features as they came, [F].
        mean, spread: of the labels, [P].
        weights: [M, P].
    """

    known: Array
    centre: Array
    scale: Array
    mean: Array
    spread: Array
    weights: Array

    @classmethod
    def fitted(cls, features: Array, labels: Array) -> "Correction":
        """From features [M, F] and labels [M, P]."""
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        mean, spread, known = labels.mean(axis=0), labels.std(axis=0), (features - centre) / scale
        kernel = _kernel(known, known) + RIDGE * np.eye(len(known))
        return cls(known, centre, scale, mean, spread, np.linalg.solve(kernel, (labels - mean) / spread))

    def __call__(self, features: Array) -> Array:
        """Estimates [M', P] of the labels of molecules with features [M', F]."""
        near = _kernel((features - self.centre) / self.scale, self.known)
        return np.asarray(self.mean + self.spread * (near @ self.weights))


def _kernel(a: Array, b: Array) -> Array:
    """A Gaussian of the distance [M, M'], `WIDTH` times that of features that differ by 1 each."""
    return np.asarray(np.exp(-cdist(a, b, "sqeuclidean") / (2 * a.shape[1] * WIDTH**2)))


def rank_correlation(pairs: Array) -> float:
    """Spearman's, of [M, 2]."""
    first, second = (rankdata(column) for column in pairs.T)
    return float(np.corrcoef(first, second)[0, 1])


def widening(errors: Array, differences: Array) -> float:
    """By which factor one of two methods must err more than on molecules with labels, for the two to differ so much.

    The errors of the first are multiplied by the factor until its mean absolute difference from the second is that of
    the other molecules. The assumption: the second errs on them as on those with labels.

    Args:
        errors: [M, 2] label less value of the first and of the second method, on molecules with labels.
        differences: [M'] the second less the first, on the other molecules.

    Returns:
        The factor, at most `MOST`; where even the least difference is too large, the factor of that.
    """
    first, second = errors.T
    wanted = np.abs(differences).mean()

    def excess(factor: float) -> float:
        return float(np.abs(factor * first - second).mean() - wanted)

    least = float(minimize_scalar(excess, bounds=(0, MOST), method="bounded").x)
    if excess(least) >= 0:
        return least
    return float(brentq(excess, least, MOST)) if excess(MOST) > 0 else MOST


def resampled(statistic: Callable[..., float], *samples: Array, draws: int = 500, seed: int = 0) -> Interval:
    """The 95 % interval of a statistic of samples [M_i, …], whose molecules are drawn anew, those of each by itself."""
    generator = np.random.default_rng(seed)
    found = [
        statistic(*(sample[generator.integers(len(sample), size=len(sample))] for sample in samples))
        for _ in range(draws)
    ]
    low, high = np.percentile(found, TAILS)
    return float(low), float(high)


def shuffled(values: Array, groups: NDArray[np.int64], seed: int = 0) -> Array:
    """The values [M], each given to another molecule of its group at random."""
    generator, found = np.random.default_rng(seed), values.copy()
    for group in np.unique(groups):
        places = np.flatnonzero(groups == group)
        found[places] = values[generator.permutation(places)]
    return found
