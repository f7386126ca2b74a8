"""What the schedule is told about a move, and which values it keeps."""

import pytest
import torch

from ead_core.common.noise import Stream, normal
from ead_core.data.tensors import centre_state, size_mask
from ead_core.diffusion.policy import Adaptive
from ead_core.sampling.sampler import predict, step
from ead_core.sampling.state import initial_state


def start(process):
    ids = torch.arange(3)
    return initial_state(torch.full_like(ids, 7), ids, size_mask([6, 4, 5]), 8, process, torch.float64)


def after(process, steps):
    state = start(process)
    for _ in range(steps):
        before, state = state, step(state, process)
    return before, state


@pytest.mark.parametrize("velocity", ["z", "mean", "x0"])
def test_velocities_are_the_lengths_they_are_said_to_be(make_process, velocity):
    process = make_process(velocity=velocity)
    before, now = after(process, 3)
    eps, grid = predict(before, process), process.grid
    t, s = grid[before.grid_index], grid[before.grid_index - 1]
    alpha, sigma = (c(t)[..., None] for c in (process.schedule.alpha, process.schedule.sigma))
    mean = process.schedule.reverse(t, s)
    stay = mean.mean_z[..., None] * before.z - mean.mean_eps[..., None] * eps
    draws = normal(before.seeds, before.ids, before.iterations, Stream.STEP, before.z.shape[1:], torch.float64)
    noise = mean.noise[..., None] * centre_state(draws, before.mask)
    previous, _ = after(process, 2)
    top = predict(previous, process)
    t_top = grid[previous.grid_index]
    x_before = (previous.z - process.schedule.sigma(t_top)[..., None] * top) / process.schedule.alpha(t_top)[..., None]
    change = centre_state((before.z - sigma * eps) / alpha - x_before, before.mask)
    expected = {"z": stay + noise - before.z, "mean": stay - before.z, "x0": change}[velocity].norm(dim=-1)
    real = before.mask
    assert torch.allclose(now.velocities[..., -1][real], expected[real], atol=1e-12)
    assert float(expected[real].min()) > 0


@pytest.mark.parametrize("velocity", ["z", "mean"])
def test_on_hold_a_velocity_without_noise_is_kept_at_advances_alone(make_process, velocity):
    policy = Adaptive(start=60, clamp=667, max_pauses=5, window=2)
    process = make_process(policy, pause_mode="hold", velocity=velocity)
    state, paused, kept = start(process), 0, 0
    for _ in range(40):
        before, state = state, step(state, process)
        waits = state.mask & (state.grid_index == before.grid_index) & (state.grid_index > 0)
        paused += int(waits.sum())
        kept += int((state.velocities == before.velocities).all(-1)[waits].sum())
    assert paused > 20
    assert kept == (paused if velocity == "mean" else 0)


@pytest.mark.parametrize(("velocity", "differ"), [("z", True), ("mean", False)])
def test_the_decision_setting_concerns_noisy_velocities_alone(make_process, velocity, differ):
    policy = Adaptive(start=60, clamp=667, max_pauses=5, window=2)
    ends = []
    for decision in ("own_noise", "previous"):
        _, end = after(make_process(policy, velocity=velocity, decision=decision), 30)
        ends.append(end.grid_index)
    assert torch.equal(*ends) is not differ
