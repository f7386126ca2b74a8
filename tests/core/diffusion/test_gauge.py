"""The y-gauge against Gaussian conditioning, and both gauges against each other."""

import pytest
import torch

from ead_core.data.tensors import centre_state, size_mask
from ead_core.diffusion.corruption import corrupt
from ead_core.diffusion.gauge import YGauge, ZGauge
from ead_core.diffusion.policy import Adaptive
from ead_core.diffusion.posterior import Moves
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.sampling.sampler import decode, predict, trajectory
from ead_core.sampling.state import initial_state

SCHEDULE = NoiseSchedule(1000)
Y, Z = YGauge(SCHEDULE), ZGauge(SCHEDULE)
ATOMS, CHANNELS = 6, 8
LEVELS = torch.tensor([[0, 3, 150, 200, 420, 900]])
GRID = torch.arange(1001)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("paused", [[], [2, 4]])
def test_one_step_is_the_exact_posterior_on_the_quotient(paused):
    """Mean and covariance of P y_s given P y_t and x, with the numerical conditioning of a joint Gaussian."""
    mask = size_mask([ATOMS])
    below = (LEVELS - 1).clamp_min(0)
    below[0, paused] = LEVELS[0, paused]
    r_t, r_s = ((SCHEDULE.sigma(level) / SCHEDULE.alpha(level))[0] for level in (LEVELS, below))
    alpha_t, alpha_s = SCHEDULE.alpha(LEVELS)[..., None], SCHEDULE.alpha(below)[..., None]
    x = centre_state(draw(1, ATOMS, CHANNELS), mask)
    z = Y.project_state(alpha_t * (x + r_t[:, None] * draw(1, ATOMS, CHANNELS, seed=1)), LEVELS, mask)
    project = torch.eye(ATOMS, dtype=torch.float64) - 1 / ATOMS
    of_s, of_t = (project @ torch.diag(r**2) @ project for r in (r_s, r_t))
    gain = of_s @ torch.linalg.pinv(of_t, rtol=1e-13)
    residual = (z / alpha_t - x)[0, :, :3]
    expected_mean, expected_covariance = x[0, :, :3] + gain @ residual, of_s - gain @ of_s

    def step(noise, normals):
        eps = Y.project_noise((z / alpha_t - x) / r_t[:, None], LEVELS, mask)
        moves, grid_index = Moves(SCHEDULE, GRID), LEVELS
        mean, spread = moves.down(z, eps, grid_index)
        end = mean + spread * noise
        end = torch.cat([end[..., :3] + Y.shift(normals, LEVELS, below, mask), end[..., 3:]], dim=-1)
        end[:, paused] = z[:, paused]
        return (Y.project_state(end, below, mask) / alpha_s)[0, :, :3]

    nothing = torch.zeros(1, ATOMS, CHANNELS, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    mean = step(*nothing)
    assert torch.allclose(mean, expected_mean, atol=1e-10)
    columns = []
    for atom in range(ATOMS + 1):
        noise, normals = (part.clone() for part in nothing)
        (noise[:, atom] if atom < ATOMS else normals)[:] = 1
        columns.append((step(noise, normals) - mean)[:, 0])
    spread = torch.stack(columns, dim=1)
    assert torch.allclose(spread @ spread.T, expected_covariance, atol=1e-10)
    assert float(expected_covariance.diagonal().max()) > 1e-2


def test_a_translation_changes_neither_state_nor_target():
    mask, alpha = size_mask([ATOMS]), SCHEDULE.alpha(LEVELS)[..., None]
    ratio = SCHEDULE.sigma(LEVELS)[..., None] / alpha
    x, eps, by = draw(1, ATOMS, CHANNELS), draw(1, ATOMS, CHANNELS, seed=1), torch.zeros(CHANNELS, dtype=torch.float64)
    by[:3] = torch.tensor([1.0, -2.0, 0.5])
    moved = eps + by / ratio  # the noise of a state that is translated by `by`
    assert torch.allclose(Y.project_noise(eps, LEVELS, mask), Y.project_noise(moved, LEVELS, mask))
    z, there = (Y.project_state(alpha * (x + ratio * e), LEVELS, mask) for e in (eps, moved))
    assert torch.allclose(z, there)
    assert not torch.allclose(
        Z.project_state(alpha * (x + ratio * moved), LEVELS, mask), Z.project_state(z, LEVELS, mask), atol=0.01
    )


def test_training_states_keep_the_constraint_and_padding():
    mask, levels = size_mask([4, 6]), LEVELS.expand(2, -1)
    state = centre_state(draw(2, ATOMS, CHANNELS), mask)
    noised = corrupt(state, levels, mask, Y, torch.Generator().manual_seed(3))
    y = noised.z / SCHEDULE.alpha(levels)[..., None]
    assert float(y[..., :3].sum(1).abs().max()) < 1e-9
    assert not noised.z[0, 4:].any()
    assert not noised.eps[0, 4:].any()
    weight = mask * SCHEDULE.alpha(levels) / SCHEDULE.sigma(levels)
    along = (weight[..., None] * noised.eps[..., :3]).sum(1) / weight.norm(dim=1, keepdim=True)
    assert float(along.abs().max()) < 1e-9


def run(process, dtype=torch.float64):
    ids = torch.arange(2)
    state = initial_state(torch.full_like(ids, 7), ids, size_mask([6, 4]), CHANNELS, process, dtype)
    return list(trajectory(state, process))


def test_at_equal_levels_the_gauges_agree(make_process):
    ends = []
    for frame in ("z", "y"):
        process = make_process(frame=frame)
        end = run(process)[-1]
        ends.append(decode(end, predict(end, process), process)[0])
    assert torch.allclose(*ends, atol=1e-9)


@pytest.mark.parametrize("mode", ["repeat", "renoise", "hold"])
def test_sampling_keeps_the_constraint(make_process, mode):
    policy = Adaptive(start=30, clamp=167, max_pauses=4, window=2)
    process = make_process(policy, pause_mode=mode, frame="y")
    spread = 0
    for now in run(process):
        y = now.z / process.schedule.alpha(process.grid[now.grid_index])[..., None]
        assert float(y[..., :3].sum(1).abs().max()) < 1e-8
        spread = max(spread, int((now.grid_index.amax(1) - now.grid_index[:, :4].amin(1)).max()))
    assert spread > 0
