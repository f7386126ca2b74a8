"""A grid has exactly its steps and is as dense as its name says; the levels of atoms on it stay within the clamp."""

from typing import get_args

import pytest
import torch

from ead_core.config import SamplerConfig
from ead_core.data.tensors import size_mask
from ead_core.diffusion.grid import POWERS, sampling_grid
from ead_core.diffusion.policies import POLICIES, Run
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
def test_the_clamp_is_the_widest_that_holds_in_levels(kind, steps, ratio):
    grid, levels = sampling_grid(T, steps, kind), 58
    policy = POLICIES["adaptive"].build(SamplerConfig(async_ratio=ratio), Run(grid, levels, 29))
    assert int(grid[policy.start]) <= ratio * T < int(grid[policy.start + 1])
    stage = grid[: policy.start + 2]

    def widest(grid_index):
        return int((stage[grid_index:] - stage[:-grid_index]).max())

    assert widest(policy.clamp) <= levels
    assert policy.clamp in (levels, len(stage) - 1) or widest(policy.clamp + 1) > levels


def test_levels_stay_within_the_clamp_on_an_uneven_grid(make_process):
    grid = sampling_grid(T, 60, "quadratic")
    policy = POLICIES["adaptive"].build(SamplerConfig(async_ratio=0.3, max_pauses=5), Run(grid, 29, 6))
    process = make_process(policy, steps=60, kind="quadratic")
    state = initial_state(torch.zeros(2, dtype=torch.long), torch.arange(2), size_mask([6, 6]), 8, process)
    levels = torch.stack([grid[now.grid_index] for now in trajectory(state, process)])
    spread = levels.amax(dim=2) - levels.amin(dim=2)
    assert 0 < int(spread.max()) <= 29


@pytest.mark.parametrize(
    ("policy", "ratio", "stride"), [("adaptive", 0.2, 42), ("adaptive", 0.0, 2), ("manual", 0.2, 98)]
)
def test_only_strides_where_atoms_may_differ_count(policy, ratio, stride):
    """A quadratic grid of 20 steps: 160 → 202 is the step into the last fifth of the levels."""
    grid, config = sampling_grid(T, 20, "quadratic"), SamplerConfig(policy=policy, async_ratio=ratio)
    POLICIES[policy].build(config, Run(grid, stride, 5))
    with pytest.raises(
        ConfigError, match=rf"one step spans {stride} levels, more than sampler\.interval={stride - 1};"
    ):
        POLICIES[policy].build(config, Run(grid, stride - 1, 5))
