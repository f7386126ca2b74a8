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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.common.intervals import Interval, wilson
from ead_core.prediction.calibration import Errors
from ead_core.prediction.judge import Judge

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


def share_in_truth(parts: Iterable[Sequence[Range]]) -> Share:
    """The share of M ≥ 1 molecules that are in all of their ranges.

    For the estimate, the errors of different properties are independent; for the interval they are whatever is worst
    (Fréchet's bounds). The interval is Wilson's of a share of as many molecules as there are, each known by no more
    residuals than it rests on.

    Args:
        parts: the molecules, some at a time, so that there may be any number of them; each part has what is predicted
            for every property asked for, of which there is at least one.
    """
    plain, widened = _Tally(), _Tally()
    for ranges in parts:
        plain.add([_chances(each, 1.0) for each in ranges])
        widened.add([_chances(each, each.widening) for each in ranges])
    lows, highs = zip(plain.interval, widened.interval, strict=True)
    return Share(widened.estimate, (min(lows), max(highs)))


def widening(selector: Judge, other: Judge, apart: Mapping[str, float]) -> dict[str, float]:
    """By how much two predictors disagree more on molecules than on held-out ones, by property.

    It is at least what the selector's calibration knows of generated molecules.

    Args:
        selector: who predicts.
        other: who has learnt from other labels.
        apart: how far their predictions are from each other on average, by property; the selector's calibration tells
            how far they are on held-out molecules.
    """
    known = {name: selector.calibration[name] for name in apart}
    usual = {name: errors.disagreement[other.fingerprint] for name, errors in known.items()}
    return {name: max(known[name].widening, far / usual[name]) for name, far in apart.items()}


class _Found(NamedTuple):
    """How likely each molecule [M] is in a range, and how often each residual [K] was used to tell."""

    chances: NDArray[np.float64]
    used: NDArray[np.float64]


@dataclass
class _Tally:
    """What is known of the molecules so far.

    Attributes:
        count: of them.
        independent, least, most: the chances of being in all ranges, added up, if errors are independent of each other,
            and if they are as bad and as good for it as can be.
        used: how often each residual was used, [K] by property.
    """

    count: int = 0
    independent: float = 0.0
    least: float = 0.0
    most: float = 0.0
    used: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, found: Sequence[_Found]) -> None:
        """Take further molecules in, by what was found for each property."""
        chances = np.stack([each.chances for each in found])
        self.count += chances.shape[1]
        self.independent += float(chances.prod(axis=0).sum())
        self.least += float(np.maximum(chances.sum(axis=0) - (len(found) - 1), 0.0).sum())
        self.most += float(chances.min(axis=0).sum())
        used = [each.used for each in found]
        self.used = [a + b for a, b in zip(self.used, used, strict=True)] if self.used else used

    @property
    def estimate(self) -> float:
        """The share in all ranges if errors are independent."""
        return self.independent / self.count

    @property
    def interval(self) -> Interval:
        """Around the share in all ranges, however errors depend on each other."""
        together = 1 / (1 / self.count + 1 / min(map(_effective, self.used)))
        low, high = (share / self.count * together for share in (self.least, self.most))
        return wilson(low, together)[0], wilson(high, together)[1]


def _effective(used: NDArray[np.float64]) -> float:
    """How many residuals used equally often would tell as much (Kish's effective number); infinite if none was used."""
    return float(used.sum() ** 2 / (used**2).sum()) if used.any() else np.inf


def _chances(asked: Range, widened: float) -> _Found:
    """What the residuals, made larger by a factor, tell of the molecules."""
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
    return _Found(chances, used)
