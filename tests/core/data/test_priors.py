"""New molecules have the sizes of the training set, each determined by its own number."""

import math

import numpy as np
import torch

from ead_core.data.dataset import Statistics
from ead_core.data.priors import draw_sizes, repeat_sizes

HISTOGRAM = {3: 10, 7: 200, 9: 50, 18: 500, 29: 40}
STATISTICS = Statistics((1, 6), HISTOGRAM, sum(HISTOGRAM.values()), "", "")


def test_sizes_follow_the_histogram():
    drawn = draw_sizes(STATISTICS, 0, torch.arange(20_000))
    expected = {n: 20_000 * count / STATISTICS.num_molecules for n, count in HISTOGRAM.items()}
    assert set(drawn.tolist()) == set(expected)
    chi_square = sum(((drawn == n).sum() - e) ** 2 / e for n, e in expected.items())
    freedom = len(expected) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_a_size_depends_on_seed_and_id_alone():
    together = draw_sizes(STATISTICS, 5, torch.arange(1000))
    some = torch.tensor([900, 3, 77])
    assert np.array_equal(draw_sizes(STATISTICS, 5, some), together[some])
    assert not np.array_equal(draw_sizes(STATISTICS, 6, torch.arange(1000)), together)


def test_given_sizes_are_cycled():
    assert repeat_sizes([5, 7, 9], torch.arange(7)).tolist() == [5, 7, 9, 5, 7, 9, 5]
    assert repeat_sizes([5, 7, 9], torch.arange(4, 6)).tolist() == [7, 9]
