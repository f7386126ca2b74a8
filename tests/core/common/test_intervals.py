import math

import numpy as np
import pytest

from ead_core.common.intervals import (
    Z95,
    distinct_interval,
    distinct_shares,
    independent_difference,
    mcnemar,
    mean_interval,
    median_interval,
    paired_difference,
    pooled_bootstrap,
    two_sided,
    wilson,
)
from ead_core.errors import DataError


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_reproduces_the_examples_of_newcombe_1998(successes, total, low, high):
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_the_ends():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(3, 10)[0] == pytest.approx(1 - wilson(7, 10)[1])


def test_bootstrap_resamples_molecules_and_not_atoms():
    totals = np.full(400, 20)
    whole = np.where(np.arange(400) < 300, 20, 0)  # molecules are all right or all wrong
    expected = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    low, high = pooled_bootstrap(whole, totals)
    assert (0.75 - low, high - 0.75) == pytest.approx((expected, expected), rel=0.1)
    assert pooled_bootstrap(np.full(400, 15), totals) == (0.75, 0.75)


def test_bootstrap_weighs_molecules_by_their_atoms_and_repeats_with_the_seed():
    stable, totals = np.array([5, 0, 3, 9]), np.array([5, 30, 4, 9])
    low, high = pooled_bootstrap(stable, totals)
    assert 0 <= low <= 17 / 48 <= high <= 1
    assert pooled_bootstrap(stable, totals) == (low, high)


def test_subsets_of_everything_are_everything():
    labels = ["a", "b", "a", None, "c"]
    assert (distinct_shares(labels, 5) == 3 / 5).all()


def test_distinct_share_of_one_pair_has_its_closed_form():
    labels = [0, 0, *range(1, 39)]
    size = 20
    expected = 1 - (size - 1) / (40 * 39)  # the pair is inside with probability size(size − 1) / M(M − 1)
    shares = distinct_shares(labels, size, draws=4000)
    assert shares.mean() == pytest.approx(expected * 1.0, abs=4 * shares.std() / np.sqrt(4000))


def test_distinct_share_grows_when_fewer_are_drawn():
    labels = np.random.default_rng(0).integers(0, 300, size=400).tolist()
    assert distinct_shares(labels, 50).mean() > distinct_shares(labels, 400).mean() + 0.2


@pytest.mark.parametrize("size", [0, 4])
def test_a_subset_has_at_most_everything(size):
    with pytest.raises(DataError, match="1 to 3"):
        distinct_shares(["a", "b", "c"], size)


def test_distinct_interval_without_repeats_leaves_room_below():
    low, high = distinct_interval(list(range(1000)))
    assert high == 1.0
    assert 0.995 < low < 0.997  # rule of three
    assert distinct_interval([]) == (0.0, 1.0)
    assert distinct_interval([None]) == wilson(0, 1)


@pytest.mark.parametrize("kinds", [300, 3000, 100_000])
def test_distinct_interval_covers_the_expected_share(kinds):
    size, rng = 400, np.random.default_rng(kinds)
    expected = kinds / size * (1 - (1 - 1 / kinds) ** size)
    hits = 0
    for seed in range(60):
        low, high = distinct_interval(rng.integers(0, kinds, size).tolist(), draws=60, seed=seed)
        hits += low <= expected <= high
    assert hits >= 53  # 95 % of 60 is 57; fewer than 53 has a chance below 2 %


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1),
        (3, 3, 1),
        (0, 5, 2 / 32),
        (5, 0, 2 / 32),
        (1, 9, 2 * 11 / 1024),
        (1, 2, 1),
        (2, 8, 112 / 1024),
    ],
)
def test_mcnemar_small_cases(only_a, only_b, p):
    assert mcnemar(only_a, only_b) == pytest.approx(p, rel=1e-14)


def test_mcnemar_of_thousands_agrees_with_the_normal_limit():
    assert mcnemar(4900, 5100) == pytest.approx(0.0466, abs=2e-4)  # z = 199 / 100 with continuity correction
    assert mcnemar(0, 5000) == 0.0  # far below the smallest float


def outcomes(both, only_b, only_a, neither):
    a = np.repeat([True, False, True, False], [both, only_b, only_a, neither])
    b = np.repeat([True, True, False, False], [both, only_b, only_a, neither])
    return a, b


@pytest.mark.parametrize(
    ("table", "interval"),
    [((36, 12, 2, 0), (0.0569, 0.3404)), ((14, 5, 0, 22), (0.011, 0.226))],
)
def test_paired_interval_reproduces_published_examples(table, interval):
    """Newcombe 1998, table II (a), and Altman et al. 2000, table 6.2."""
    result = paired_difference(*outcomes(*table))
    assert result.interval == pytest.approx(interval, abs=6e-4)
    assert result.difference == pytest.approx((table[1] - table[2]) / sum(table))
    assert (result.only_a, result.only_b) == (table[2], table[1])


def test_equal_runs_do_not_differ():
    a, _ = outcomes(70, 0, 0, 30)
    result = paired_difference(a, a)
    assert result.difference == 0
    assert result.p_value == 1
    assert result.interval[0] <= 0 <= result.interval[1]


def test_paired_interval_covers_the_difference():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        kinds = rng.multinomial(200, [0.7, 0.12, 0.05, 0.13])
        low, high = paired_difference(*outcomes(*kinds)).interval
        hits += low <= 0.07 <= high
    assert hits >= 274  # 95 % of 300 is 285, standard deviation 3.8


def test_pairs_need_partners():
    with pytest.raises(DataError, match="same molecules twice"):
        paired_difference(np.ones(3, bool), np.ones(2, bool))
    with pytest.raises(DataError, match="same molecules twice"):
        paired_difference(np.ones(0, bool), np.ones(0, bool))


def test_independent_difference_of_newcombes_example():
    """Newcombe, Stat. Med. 17, 873 (1998), table II: 56/70 against 48/80, method 10 gives 0.0524 to 0.3339."""
    found = independent_difference(48, 80, 56, 70)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.p_value == pytest.approx(0.0079, abs=2e-4)  # z = 2.655


def test_median_interval_covers_the_median():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(600):
        low, high = median_interval(rng.exponential(size=41))
        hits += low <= np.log(2) <= high
    assert 0.93 < hits / 600 < 0.985
    assert median_interval(np.array([3.0])) == (3.0, 3.0)


def test_mean_interval_is_normal():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    half = 1.959964 * values.std(ddof=1) / 2
    assert mean_interval(values) == pytest.approx((3 - half, 3 + half))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_other_confidences_are_the_roots_of_the_score_equation(confidence):
    """Wilson's ends are where |p̂ − p| = z √(p (1 − p) / n)."""
    z = two_sided(confidence)
    for end in wilson(30, 80, z):
        assert abs(30 / 80 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 80))


def test_more_confidence_is_a_wider_interval_around_the_same_difference():
    assert two_sided(0.95) == pytest.approx(Z95)
    a, b = (np.random.default_rng(seed).random(200) < share for seed, share in ((0, 0.5), (1, 0.7)))
    found = [paired_difference(a, b, two_sided(confidence)) for confidence in (0.8, 0.95, 0.99)]
    assert found[1].interval == pytest.approx(paired_difference(a, b).interval)
    lows, highs = zip(*(pair.interval for pair in found), strict=True)
    assert lows[0] > lows[1] > lows[2]
    assert highs[0] < highs[1] < highs[2]
