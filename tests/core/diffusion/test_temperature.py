"""Scaling the noise cools Gaussian data exactly, and no step of any grid is made to overshoot."""

import math
from dataclasses import replace

import pytest
import torch

from ead_core.data.tensors import size_mask
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.policy import Manual, Synchronous
from ead_core.diffusion.posterior import SOLVERS, Moves
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.diffusion.temperature import ScoreRescaling
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

WIDTH, TEMPERATURE = 0.5, 0.25
FINE, SCHEDULE = NoiseSchedule(20_000), NoiseSchedule(1000)


def gaussian(width, schedule=FINE):
    def predict(inputs):
        alpha, sigma = (c(inputs.levels)[..., None] for c in (schedule.alpha, schedule.sigma))
        return sigma * inputs.z / (alpha**2 * width**2 + sigma**2)

    return predict


@pytest.mark.parametrize(
    ("policy", "frame"), [(Synchronous(), "z"), (Synchronous(), "y"), (Manual(40, 2, 2), "z")], ids=str
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_gaussian_data_are_sampled_as_if_they_were_narrower(solver, policy, frame):
    """All the way: with the width of the data, τ times their variance, at the levels of each atom."""
    grid = torch.linspace(2000, 16_000, 41).round().long()
    plain = Process(gaussian(WIDTH * TEMPERATURE**0.5), FINE, grid, policy, solver=SOLVERS[solver], frame=GAUGES[frame])
    cooled = replace(plain, denoiser=gaussian(WIDTH), cooling=ScoreRescaling(TEMPERATURE, WIDTH))
    ids = torch.arange(2)
    ends = []
    for process in (plain, cooled):
        state = initial_state(ids, ids, size_mask([5, 3]), 7, process, torch.float64)
        ends.append(list(trajectory(state, process))[-1].z)
    assert torch.allclose(*ends, atol=1e-9)


@pytest.mark.parametrize("kind", ["even", "quadratic"])
@pytest.mark.parametrize("steps", [5, 25, 100, 1000])
@pytest.mark.parametrize("solver", [name for name, solver in SOLVERS.items() if not solver.forgets])  # nor are cooled
def test_no_move_lets_an_error_grow(solver, steps, kind):
    """Of molecules that are all the same point, the distance to it in units of σ is the error."""
    grid = sampling_grid(1000, steps, kind)
    factors = ScoreRescaling(0.01, 10.0).factors(SCHEDULE, grid)
    sigma = SCHEDULE.sigma(grid)
    index = torch.arange(1, steps + 1)
    z = sigma[1:, None]
    end, _ = Moves(SCHEDULE, grid, SOLVERS[solver]).down(z, factors[1:, None] * torch.ones_like(z), index)
    assert float((end[:, 0] / sigma[:-1]).abs().max()) <= 1 + 1e-9
    assert float(factors.max()) > 1.01


@pytest.mark.parametrize("length", [0.01, 0.1, 0.44, 1.0, 2.0, 5.0])
def test_equal_steps_of_second_order_let_no_error_grow(length):
    """With x̂ extrapolated, errors of two steps follow from each other: a matrix with no eigenvalue beyond 1.

    The least stable of all factors up to the bound is the bound itself. Errors are in units of σ, as above.
    """
    q = 1 - math.exp(-length)
    gain = math.exp(length / 2) * q * (1 - 1 / q)  # of x̂, with r at its bound
    matrix = torch.tensor([[math.exp(-length / 2) + 1.5 * gain, -0.5 * gain * math.exp(length / 2)], [1.0, 0.0]])
    assert float(torch.linalg.eigvals(matrix).abs().max()) <= 1


def test_the_factor_is_that_of_the_paper_where_steps_are_short():
    levels = torch.arange(0, 1001)
    factors = ScoreRescaling(0.25, 0.2).factors(SCHEDULE, levels)
    snr = (SCHEDULE.alpha(levels) / SCHEDULE.sigma(levels)) ** 2
    published = (snr * 0.04 + 1) / (snr * 0.04 / 4 + 1)
    assert torch.allclose(factors[20:], published[20:])
    assert ((factors >= 1) & (factors <= published + 1e-12)).all()
    assert ScoreRescaling(1.0, 0.2).factors(SCHEDULE, levels).eq(1).all()


def test_outside_of_its_window_the_temperature_is_1():
    levels = torch.arange(0, 1001)
    whole, part = (ScoreRescaling(0.5, 0.2, window).factors(SCHEDULE, levels) for window in ((0, 1), (0.1, 0.4)))
    inside = (levels >= 100) & (levels <= 400)
    assert torch.equal(part[inside], whole[inside])
    assert part[~inside].eq(1).all()
