"""The number of molecules in a range in truth, in worlds where the truth is known."""

import numpy as np
import pytest

from ead_core.prediction.calibration import Errors, Residuals, measure_errors
from ead_core.prediction.in_truth import Range, share_in_truth


def world(generator, count):
    """Truths, and predictions that shrink them and err more where more is predicted."""
    truth = generator.normal(size=count)
    return truth, 0.9 * truth + generator.normal(size=count) * (0.05 + 0.15 * np.abs(truth))


def delivered(generator, count, low, high):
    truth, predicted = world(generator, 20 * count)
    chosen = np.flatnonzero((predicted >= low) & (predicted <= high))[:count]
    return truth[chosen], predicted[chosen]


def ranged(predicted, low, high, errors, widening=1.0):
    return Range(predicted, np.full(len(predicted), low), np.full(len(predicted), high), errors, widening)


@pytest.mark.parametrize("ends", [(-0.3, 0.3), (1.0, 1.6), (1.5, np.inf)])
def test_the_interval_holds_the_share_in_at_least_95_of_100_worlds(ends):
    generator, held, errors = np.random.default_rng(0), 0, []
    for _ in range(100):
        truth, predicted = world(generator, 1500)
        calibrated = measure_errors(Residuals(predicted, truth - predicted), Residuals(predicted, truth - predicted))
        truth, predicted = delivered(generator, 150, *ends)
        share = share_in_truth([[ranged(predicted, *ends, calibrated)]])
        inside = (truth >= ends[0]) & (truth <= ends[1])
        held += share.interval[0] <= inside.mean() <= share.interval[1]
        errors.append(share.estimate - inside.mean())
    assert held >= 95
    assert abs(np.mean(errors)) < 0.02, "the estimate leans to one side"


def errors_of(*residuals):
    return Errors(0, 0, 0, 0, 1, tuple(range(len(residuals))), residuals)


def test_an_exact_predictor_leaves_only_the_doubt_of_few_molecules():
    share = share_in_truth([[ranged(np.full(40, 5.0), 4, 6, errors_of(*[0.0] * 50))]])
    assert share.estimate == share.interval[1] == 1
    assert 0.7 < share.interval[0] < 1


def test_larger_errors_lower_the_estimate_and_the_lower_end_alone():
    known = errors_of(*[-0.8, 0.8] * 25)
    plain, wide = (share_in_truth([[ranged(np.full(40, 5.0), 4, 6, known, w)]]) for w in (1.0, 1.5))
    assert (plain.estimate, wide.estimate) == (1, 0)
    assert wide.interval[0] == 0
    assert wide.interval[1] == plain.interval[1] == 1


def test_two_ranges_are_independent_for_the_estimate_and_at_worst_for_the_interval():
    half = ranged(np.full(4000, 5.0), 5, 9, errors_of(*[-1.0, 1.0] * 4000))
    share = share_in_truth([[half, half]])
    assert share.estimate == pytest.approx(0.25)
    assert share.interval[0] == 0, "never both"
    assert share.interval[1] > 0.5, "always both"


def test_molecules_of_which_nothing_is_asked_are_inside():
    asked = Range(np.array([5.0, 5.0]), np.array([9.0, np.nan]), np.array([9.5, np.nan]), errors_of(*[0.0] * 20))
    assert share_in_truth([[asked]]).estimate == 0.5


def test_molecules_may_come_in_parts():
    generator = np.random.default_rng(0)
    known = [errors_of(*generator.normal(size=count)) for count in (200, 300)]
    predicted = generator.uniform(0, 200, (2, 50))
    ranges = [ranged(values, 80.0, 120.0, errors, 1.3) for values, errors in zip(predicted, known, strict=True)]
    ranges[1].low[::3] = np.nan
    cuts = [slice(0, 7), slice(7, 8), slice(8, 50)]
    parts = [
        [Range(one.predicted[cut], one.low[cut], one.high[cut], one.errors, one.widening) for one in ranges]
        for cut in cuts
    ]
    whole, joined = share_in_truth([ranges]), share_in_truth(parts)
    assert 0 < whole.interval[0] < whole.estimate < whole.interval[1] < 1
    assert (joined.estimate, *joined.interval) == pytest.approx((whole.estimate, *whole.interval), rel=1e-12)
