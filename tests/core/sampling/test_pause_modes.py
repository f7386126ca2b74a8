"""What pausing does to the marginals, on data where the exact denoiser is known (method: Gaussian toy).

All molecules are the same point, so z_t = α_t·0 + σ_t ε and ε̂ = z / σ_t is exact; only the unprojected feature
channels are measured. A ratio is variance / σ_t² of atoms at their own levels; exact sampling has ratio 1.
"""

from dataclasses import dataclass, replace

import pytest
import torch

from ead_core.data.tensors import size_mask
from ead_core.diffusion.policy import Adaptive, RandomPauses
from ead_core.sampling.sampler import step
from ead_core.sampling.state import initial_state

MOLECULES, ATOMS, STEPS, TOP, CALLS = 700, 6, 500, 100, 50  # from step 100 of 500, which is level 200 of 1000


@dataclass(frozen=True)
class EveryNth:
    """Advances in every n-th iteration, whatever the state."""

    n: int
    window: int = 1

    def advance(self, now):
        moves = (now.iterations + 1) % self.n == 0
        return now.mask & (now.grid_index > 0) & moves[:, None]


@pytest.fixture
def begin(make_process):
    """The process and the state of many molecules at level 200, drawn exactly."""

    def made(policy, pause_mode, decision="own_noise", **more):
        process = make_process(policy, steps=STEPS, pause_mode=pause_mode, decision=decision, **more)
        sigma = process.schedule.sigma
        process = replace(
            process,
            grid=process.grid[: TOP + 1],
            denoiser=lambda inputs: inputs.z / sigma(inputs.levels)[..., None],
        )
        ids, seeds, mask = torch.arange(MOLECULES), torch.full((MOLECULES,), 7), size_mask([ATOMS] * MOLECULES)
        state = initial_state(seeds, ids, mask, 7, process, torch.float64)
        return replace(state, z=state.z * sigma(process.grid[TOP])), process

    return made


@pytest.fixture
def ratio(begin):
    """Variance ratio after so many calls."""

    def measure(policy, pause_mode, decision="own_noise", calls=CALLS):
        state, process = begin(policy, pause_mode, decision)
        for _ in range(calls):
            state = step(state, process)
        assert int(state.grid_index.min()) > 0
        relative = state.z[..., 3:] / process.schedule.sigma(process.grid[state.grid_index])[..., None]
        return float((relative**2).mean())

    return measure


@pytest.fixture
def ratio_on_arrival(begin):
    """Variance ratio of every atom when it first reaches level 150.

    At a given time atoms that wait because of where they are would be seen too often; at a given level they are not.
    """

    def measure(policy, pause_mode, **more):
        state, process = begin(policy, pause_mode, **more)
        arrived = torch.zeros_like(state.z[..., 3:])
        calls = 0
        while bool((state.grid_index > TOP - 25).any()):
            before, state, calls = state, step(state, process), calls + 1
            now = (before.grid_index > TOP - 25) & (state.grid_index == TOP - 25)
            arrived[now] = state.z[..., 3:][now]
        assert calls > 30
        return float(((arrived / process.schedule.sigma(process.grid[TOP - 25])) ** 2).mean())

    return measure


ERROR = 4 * (2 / (MOLECULES * ATOMS * 4)) ** 0.5  # four standard errors of a variance of normals


def test_advancing_always_is_exact(ratio):
    assert ratio(EveryNth(1), "repeat") == pytest.approx(1, abs=ERROR)


@pytest.mark.parametrize("mode", ["renoise", "hold"])
@pytest.mark.parametrize("n", [2, 3])
def test_pausing_blindly_is_exact_with_renoise_and_hold(ratio, mode, n):
    assert ratio(EveryNth(n), mode) == pytest.approx(1, abs=ERROR)


@pytest.mark.parametrize(("executions", "calls"), [(2, 80), (3, 90)])
def test_repeat_cools_as_predicted(ratio, executions, calls):
    """r executions per level give the variance ratio r / (2r − 1): low-temperature sampling."""
    assert ratio(EveryNth(executions), "repeat", calls=calls) == pytest.approx(
        executions / (2 * executions - 1), abs=0.03
    )


def test_hold_is_exact_when_only_earlier_velocities_decide(ratio):
    policy = Adaptive(start=TOP, window=2, clamp=58, max_pauses=10)
    assert ratio(policy, "hold", "previous") == pytest.approx(1, abs=ERROR)


def test_hold_selects_noise_when_the_own_velocity_decides(ratio):
    """The literal reading accepts quiet moves only: the check that the measurement can see a failure."""
    policy = Adaptive(start=TOP, window=2, clamp=58, max_pauses=10)
    assert abs(ratio(policy, "hold", "own_noise") - 1) > 0.1


@pytest.mark.parametrize("test", ["strict", "ema"])
def test_hold_is_exact_when_the_velocity_holds_no_noise_of_the_move(ratio_on_arrival, test):
    policy = Adaptive(start=TOP, window=2, clamp=58, max_pauses=10, test=test)
    assert ratio_on_arrival(policy, "hold", velocity="mean") == pytest.approx(1, abs=ERROR)


def test_the_measure_on_arrival_sees_selected_noise(ratio_on_arrival):
    policy = Adaptive(start=TOP, window=2, clamp=58, max_pauses=10)
    assert abs(ratio_on_arrival(policy, "hold", velocity="z") - 1) > 0.1


@pytest.mark.parametrize("mode", ["renoise", "hold"])
@pytest.mark.parametrize("together", [True, False])
def test_random_pauses_are_exact(ratio, mode, together):
    policy = RandomPauses(start=TOP, clamp=58, max_pauses=10, rates=(0.6,), together=together)
    assert ratio(policy, mode) == pytest.approx(1, abs=ERROR)
