"""A grid has exactly its steps and is as dense as its name says; the levels of atoms on it stay within the clamp."""

from typing import get_args

import numpy as np
import pytest
import torch

from ead_core.config import SamplerConfig
from ead_core.data.tensors import size_mask
from ead_core.diffusion.grid import POWERS, sampling_grid
from ead_core.diffusion.policies import POLICIES, Run
from ead_core.diffusion.policy import PolicyState, RandomPauses
from ead_core.errors import ConfigError
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

T = 1000


def test_the_recipe_knows_every_grid():
    assert get_args(SamplerConfig.model_fields["grid"].annotation) == tuple(POWERS)


@pytest.mark.parametrize("kind", POWERS)
def test_every_number_of_steps_gives_strictly_ascending_levels(kind):
    for steps in range(1, T + 1):
        grid = sampling_grid(T, steps, kind)
        assert len(grid) == steps + 1
        assert (int(grid[0]), int(grid[-1])) == (0, T)
        assert int(grid.diff().min()) >= 1


def test_the_even_grid_is_even():
    for steps in range(1, T + 1):
        exact = torch.linspace(0, T, steps + 1, dtype=torch.float64)
        assert torch.equal(sampling_grid(T, steps), exact.round().long())


@pytest.mark.parametrize("kind", POWERS)
def test_with_all_steps_every_grid_is_the_full_one(kind):
    assert torch.equal(sampling_grid(T, T, kind), torch.arange(T + 1))


def test_rungs_follow_their_power_and_one_level_is_the_shortest_stride():
    assert sampling_grid(T, 10, "quadratic").tolist() == [0, 10, 40, 90, 160, 250, 360, 490, 640, 810, 1000]
    assert sampling_grid(T, 100, "quadratic")[:10].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("kind", POWERS)
@pytest.mark.parametrize("steps", [50, 120, 333, 1000])
@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5])
def test_the_clamp_is_the_levels_of_the_settings_on_every_grid(kind, steps, ratio):
    grid, levels = sampling_grid(T, steps, kind), 58
    policy = POLICIES["adaptive"].build(SamplerConfig(async_ratio=ratio), Run(grid, levels, 29))
    assert int(grid[policy.start]) <= ratio * T < int(grid[policy.start + 1])
    assert policy.clamp == levels


@pytest.mark.parametrize("seed", range(20))
def test_on_any_grid_the_clamp_holds_and_everyone_arrives(seed):
    """Also where a step is longer than the clamp, and where long steps are below short ones."""
    random = np.random.default_rng(seed)
    clamp, patience = int(random.integers(1, 40)), 3
    grid = torch.from_numpy(np.cumsum([0, *random.choice([1, 2, 7, 20, 33], size=12)]))
    policy = RandomPauses(start=10, clamp=clamp, max_pauses=patience, rates=(0.3,))
    mask = size_mask([1, 2, 6, 6])
    grid_index, pauses, iteration = mask.long() * 12, torch.zeros_like(mask, dtype=torch.long), 0
    while bool(grid_index.any()):
        assert iteration < 12 + policy.most_pauses(6)
        ids = torch.arange(len(mask))
        iterations = torch.full_like(ids, iteration)
        now = PolicyState(ids + seed, ids, grid_index, mask, torch.zeros(4, 6, 2), pauses, pauses, iterations, grid)
        advancing = policy.advance(now)
        pauses = (pauses + 1) * (mask & (grid_index > 0) & ~advancing)
        grid_index, iteration = grid_index - advancing.long(), iteration + 1
        spread = grid[grid_index].amax(dim=1) - grid[grid_index].masked_fill(~mask, T).amin(dim=1)
        assert int(spread.max()) <= clamp
    assert iteration > 12


def test_levels_stay_within_the_clamp_on_an_uneven_grid(make_process):
    grid = sampling_grid(T, 60, "quadratic")
    policy = POLICIES["adaptive"].build(SamplerConfig(async_ratio=0.3, max_pauses=5), Run(grid, 29, 6))
    process = make_process(policy, steps=60, kind="quadratic")
    state = initial_state(torch.zeros(2, dtype=torch.long), torch.arange(2), size_mask([6, 6]), 8, process)
    levels = torch.stack([grid[now.grid_index] for now in trajectory(state, process)])
    spread = levels.amax(dim=2) - levels.amin(dim=2)
    assert 0 < int(spread.max()) <= 29


@pytest.mark.parametrize(
    ("policy", "ratio", "stride"), [("adaptive", 0.2, 2), ("adaptive", 0.0, 2), ("manual", 0.2, 98)]
)
def test_a_grid_is_refused_where_the_policy_could_do_nothing(policy, ratio, stride):
    """A quadratic grid of 20 steps: 2, 10, 22 … 902, 1000. A pyramid is to hold everywhere, pauses anywhere."""
    grid, config = sampling_grid(T, 20, "quadratic"), SamplerConfig(policy=policy, async_ratio=ratio)
    POLICIES[policy].build(config, Run(grid, stride, 5))
    with pytest.raises(
        ConfigError, match=rf"one step spans {stride} levels, more than sampler\.interval={stride - 1};"
    ):
        POLICIES[policy].build(config, Run(grid, stride - 1, 5))
