"""How far a predictor of properties errs on molecules that it has not seen, and the intervals that follow.

Half of the width of an interval is the ⌈0.95 (n + 1)⌉-th smallest error on n held-out molecules (split conformal
prediction, Vovk et al. 2005): 95 % of intervals hold the true value for molecules of the kind that it was measured on.
On generated molecules errors are larger; by which factor, an independent method can tell (`Widening`). Where nobody has
asked one, the intervals are nominal there.

Where errors depend on what is predicted, a width says too little: so predictions and residuals of some held-out
molecules are kept, too (in_truth.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ead_core.common.documents import Document
from ead_core.errors import CheckpointError, DataError

CALIBRATION = "calibration.json"
COVERAGE = 0.95
KEPT = 1000  # held-out molecules of which predictions and residuals are kept


class Residuals(NamedTuple):
    """What is predicted of some molecules [n], and by how much the truth differs: label − prediction."""

    predicted: NDArray[np.float64]
    residuals: NDArray[np.float64]


@dataclass(frozen=True)
class Widening:
    """By how much a predictor errs more on generated molecules than on held-out ones, and how that is known.

    Attributes:
        factor: of its errors, at least 1.
        interval: 95 % of the factor.
        origin: of which molecules it is, and by which method it was found.
    """

    factor: float
    interval: tuple[float, float]
    origin: str


@dataclass(frozen=True)
class Errors:
    """Of one property, in border units.

    Attributes:
        bound: mean absolute error on the test part: nobody is judged more finely.
        tested: molecules of the test part with a label.
        half_width: of the interval around a prediction.
        calibrated: molecules that it was measured on, others than those of the test part.
        covered: share of the test part's labels within their interval.
        predicted: of some of the calibrated molecules, in ascending order; none if it was calibrated before there were.
        residuals: their labels less the predictions.
        disagreement: mean absolute difference from another predictor on the test part, by its fingerprint.
        generated: by how much errors are larger on generated molecules; None if nobody has measured it.
    """

    bound: float
    tested: int
    half_width: float
    calibrated: int
    covered: float
    predicted: tuple[float, ...] = ()
    residuals: tuple[float, ...] = ()
    disagreement: Mapping[str, float] = field(default_factory=dict)
    generated: Widening | None = None

    @property
    def widening(self) -> float:
        """The factor of errors on generated molecules, 1 where it is not known."""
        return self.generated.factor if self.generated else 1.0

    @property
    def widened(self) -> float:
        """Half of the width of an interval around a prediction for a generated molecule."""
        return self.widening * self.half_width


Calibration = Mapping[str, Errors]


class CalibrationDocument(Document):
    """The calibration of a judge, as it is stored.

    Attributes:
        weights: digest of the weights that it is of.
        properties: errors by property.
    """

    kind: ClassVar[str] = "the calibration of a judge"

    version: Literal[1] = Field(1, alias="format")
    weights: str
    properties: dict[str, Errors]


COUNTED = Errors(bound=0, tested=0, half_width=0, calibrated=0, covered=1)  # of what needs no prediction


def half_width(errors: NDArray[np.float64]) -> float:
    """The ⌈0.95 (n + 1)⌉-th smallest of n absolute errors; infinite if there are too few for it."""
    rank = math.ceil(COVERAGE * (len(errors) + 1))
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else math.inf


def measure_errors(calibration: Residuals, test: Residuals) -> Errors:
    """Figures of a property from its residuals on two parts of the data, at least one each."""
    errors, tested = np.abs(calibration.residuals), np.abs(test.residuals)
    width = half_width(errors)
    order = np.argsort(calibration.predicted, kind="stable")
    some = order[np.linspace(0, len(order) - 1, min(KEPT, len(order))).round().astype(np.int64)]
    return Errors(
        bound=float(tested.mean()),
        tested=len(tested),
        half_width=width,
        calibrated=len(errors),
        covered=float((tested <= width).mean()),
        predicted=_rounded(calibration.predicted[some]),
        residuals=_rounded(calibration.residuals[some]),
    )


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    """To six digits, which is more than a predictor of single precision has."""
    return tuple(float(f"{value:.6g}") for value in values)


def save_calibration(directory: Path, calibration: Calibration, weights: str) -> None:
    """Write calibration.json beside the weights that it is of, by their digest."""
    CalibrationDocument(weights=weights, properties=dict(calibration)).save(directory / CALIBRATION)


def load_calibration(directory: Path, weights: str) -> Calibration:
    """Read what `save_calibration` wrote.

    Raises:
        CheckpointError: there is none, it is corrupt, or of other weights.
    """
    path = directory / CALIBRATION
    if not path.is_file():
        raise CheckpointError(f"{directory} has not been calibrated yet; `ead train` does it when it evaluates.")
    try:
        document = CalibrationDocument.load(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if document.weights != weights:
        raise CheckpointError(f"{path} is of other weights; continue the training to its next evaluation.")
    return document.properties
