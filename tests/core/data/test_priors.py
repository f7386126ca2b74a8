"""New molecules have the sizes of the training set, each determined by its own number."""

import math

import numpy as np
import pytest
import torch

from ead_core.data.dataset import Statistics
from ead_core.data.priors import SizeRange, draw_sizes, parse_sizes, repeat_sizes
from ead_core.errors import ConfigError

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


def test_a_range_keeps_its_part_of_the_histogram():
    drawn = draw_sizes(STATISTICS, 0, torch.arange(20_000), SizeRange(8, 20))
    assert set(drawn.tolist()) == {9, 18}
    assert (drawn == 18).mean() == pytest.approx(500 / 550, abs=0.01)


def test_a_range_without_training_molecules_is_refused():
    with pytest.raises(ConfigError, match=r"no training molecule has 30-40 atoms \(they have 3 to 29\)"):
        draw_sizes(STATISTICS, 0, torch.arange(2), SizeRange(30, 40))


@pytest.mark.parametrize(
    ("text", "sizes"), [(None, None), ("18", (18,)), ("15, 18,21", (15, 18, 21)), ("15-20", SizeRange(15, 20))]
)
def test_sizes_are_read_from_text(text, sizes):
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["many", "1,", "3-", "1-2-3", "-4"])
def test_other_text_is_refused(text):
    with pytest.raises(
        ConfigError, match="--sizes must be whole numbers separated by commas, or a range such as 15-20"
    ):
        parse_sizes(text)
