"""How many of some molecules lie in a range in truth, given what is predicted of them.

The truth of a molecule is taken to be its prediction plus the residual of a held-out molecule: of the hundred of which
nearly the same is predicted, so that errors may depend on the prediction, and so that molecules may be chosen by it.
(This is the predictive distribution of split conformal prediction, in bins of the prediction; Vovk et al. 2005, 2020.)

Generated molecules are not those of the calibration. By how much predictors err more on them is told by their
calibration, if it was measured, and for the molecules at hand by another predictor that has learnt from other labels,
if the two disagree more than on held-out molecules. Residuals are widened by the larger factor. Both the widened and
the plain residuals are within the interval.

Legend: M molecules, K residuals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.common.intervals import Interval, wilson
from ead_core.data.store import MoleculeSet
from ead_core.prediction.calibration import Errors
from ead_core.prediction.judge import Judge, predict

NEAREST = 100  # residuals of a molecule: few enough to be near, enough for shares of a few percent
TOGETHER = 4096  # molecules, times NEAREST


@dataclass(frozen=True)
class Range:
    """What is predicted of M molecules for one property, and where it should be.

    Attributes:
        predicted: [M].
        low, high: [M] ends, NaN where nothing is asked.
        errors: of the predictor.
        widening: by how much residuals are larger than on held-out molecules.
    """

    predicted: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    errors: Errors
    widening: float = 1.0


class Share(NamedTuple):
    """The share of molecules in their ranges: an estimate, and an interval of 95 %."""

    estimate: float
    interval: Interval


def share_in_truth(ranges: Sequence[Range]) -> Share:
    """The share of M ≥ 1 molecules that are in all of their ranges, at least one.

    For the estimate, the errors of different properties are independent; for the interval they are whatever is worst
    (Fréchet's bounds). The interval is Wilson's of a share of as many molecules as there are, each known by no more
    residuals than it rests on.
    """
    estimate, lows, highs = 0.0, list[float](), list[float]()
    for widened in (False, True):
        found = [_chances(each, each.widening if widened else 1.0) for each in ranges]
        chances = np.stack([chance for chance, _ in found])
        estimate = float(chances.prod(axis=0).mean())  # in the end of the widened residuals
        together = 1 / (1 / chances.shape[1] + 1 / min(count for _, count in found))
        least = np.maximum(chances.sum(axis=0) - (len(ranges) - 1), 0.0).mean()
        lows.append(wilson(float(least) * together, together)[0])
        highs.append(wilson(float(chances.min(axis=0).mean()) * together, together)[1])
    return Share(estimate, (min(lows), max(highs)))


def widening(selector: Judge, other: Judge, molecules: MoleculeSet, names: Sequence[str]) -> dict[str, float]:
    """By how much two predictors disagree more on molecules than on held-out ones, by property.

    It is at least what the selector's calibration knows of generated molecules.

    Args:
        selector: who predicts.
        other: who has learnt from other labels.
        molecules: M ≥ 1, of elements that both know.
        names: of properties of which the selector's calibration tells the disagreement.
    """
    a, b = (predict(one.predictor, one.config, one.statistics, molecules) for one in (selector, other))
    known = {name: selector.calibration[name] for name in names}
    apart = {name: float(np.abs(a[name] - b[name]).mean()) for name in names}
    return {
        name: max(known[name].widening, apart[name] / known[name].disagreement[other.fingerprint]) for name in names
    }


def _chances(asked: Range, widened: float) -> tuple[NDArray[np.float64], float]:
    """How likely each molecule [M] is in its range, and how many residuals that rests on (Kish's effective number)."""
    known, residuals = np.array(asked.errors.predicted), np.array(asked.errors.residuals)
    count = min(NEAREST, len(known))
    first = np.clip(np.searchsorted(known, asked.predicted) - count // 2, 0, len(known) - count)
    chances, used = np.ones(len(first)), np.zeros(len(known))
    rows = np.flatnonzero(~np.isnan(asked.low))
    for some in (rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)):
        places = first[some, None] + np.arange(count)
        truth = asked.predicted[some, None] + widened * residuals[places]
        inside = (truth >= asked.low[some, None]) & (truth <= asked.high[some, None])
        chances[some] = inside.mean(axis=1)
        used += np.bincount(places.ravel(), minlength=len(known))
    return chances, float(used.sum() ** 2 / (used**2).sum()) if len(rows) else np.inf
