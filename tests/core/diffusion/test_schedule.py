"""The noise schedule has EDM's numbers, and the reverse move is the exact posterior."""

import numpy as np
import pytest
import torch

from ead_core.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule(1000)


@pytest.mark.parametrize(
    ("level", "gamma"),
    [(0, -11.51292), (1, -11.3306), (2, -10.92513), (500, -0.25131), (999, 11.17673), (1000, 11.51252)],
)
def test_gamma_of_the_released_code(level, gamma):
    assert float(SCHEDULE.gamma(torch.tensor(level))) == pytest.approx(gamma, abs=1e-4)


@pytest.mark.parametrize(
    ("level", "alpha", "sigma"),
    [
        (0, 0.999995, 0.00316),
        (100, 0.99, 0.1411),
        (200, 0.96, 0.28002),
        (800, 0.36001, 0.93295),
        (1000, 0.00316, 0.99999),
    ],
)
def test_alpha_and_sigma(level, alpha, sigma):
    level = torch.tensor(level)
    assert float(SCHEDULE.alpha(level)) == pytest.approx(alpha, abs=2e-5)
    assert float(SCHEDULE.sigma(level)) == pytest.approx(sigma, abs=2e-5)


def test_levels_may_have_any_shape():
    levels = torch.randint(0, 1001, (2, 3, 4))
    assert SCHEDULE.alpha(levels).shape == (2, 3, 4)
    assert torch.allclose(SCHEDULE.alpha(levels) ** 2 + SCHEDULE.sigma(levels) ** 2, torch.ones(2, 3, 4).double())


def test_reverse_move_is_bayes_rule():
    """Posterior precision = prior precision + likelihood precision, for random t > s."""
    s = torch.randint(0, 999, (100,))
    t = s + 1 + (torch.rand(100) * (1000 - s)).long()
    t = t.clamp_max(1000)
    x, z = 1.7, 0.4
    move = SCHEDULE.reverse(t, s)
    alpha_t, sigma_t = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    eps = (z - alpha_t * x) / sigma_t
    prior, likelihood = SCHEDULE.sigma(s) ** -2, move.alpha_step**2 / move.sigma_step**2
    mean = (SCHEDULE.alpha(s) * x * prior + z / move.alpha_step * likelihood) / (prior + likelihood)
    assert torch.allclose(move.mean_z * z - move.mean_eps * eps, mean, rtol=1e-6, atol=1e-9)
    assert torch.allclose(move.noise**2, 1 / (prior + likelihood), rtol=1e-6)


def test_no_move_is_the_identity():
    t = torch.arange(1001)
    move = SCHEDULE.reverse(t, t)
    assert torch.equal(move.mean_z, torch.ones(1001).double())
    assert float(move.mean_eps.abs().max()) == 0
    assert float(move.noise.abs().max()) == 0


def test_moves_compose_to_the_marginal():
    """q(z_t | x) followed by the posterior gives q(z_s | x), for random s ≤ t (mean and variance in closed form)."""
    t = torch.randint(0, 1001, (200,))
    s = (torch.rand(200) * (t + 1)).long()
    move = SCHEDULE.reverse(t, s)
    alpha_t, sigma_t = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    gain = move.mean_z - move.mean_eps / sigma_t  # dependence of z_s on z_t when ε̂ = (z_t − α x)/σ
    mean = gain * alpha_t + move.mean_eps * alpha_t / sigma_t
    variance = gain**2 * sigma_t**2 + move.noise**2
    assert torch.allclose(mean, SCHEDULE.alpha(s), atol=1e-9)
    assert torch.allclose(variance, SCHEDULE.sigma(s) ** 2, atol=1e-9)


def test_transport_keeps_the_flow_of_a_gaussian():
    """For data N(0, s²) the probability flow is a scaling: z_t / √(α_t² s² + σ_t²) is constant along it.

    With the exact ε̂ one step of the map is first order in the step, so many steps come close to the flow.
    """
    s = 0.7
    levels = torch.arange(1000, -1, -1)
    width = (SCHEDULE.alpha(levels) ** 2 * s**2 + SCHEDULE.sigma(levels) ** 2).sqrt()
    z = width[0]
    for t, below, spread in zip(levels[:-1], levels[1:], width[:-1], strict=True):
        move = SCHEDULE.transport(t, below)
        z = move.mean_z * z - move.mean_eps * (SCHEDULE.sigma(t) * z / spread**2)
    assert float(z / width[-1]) == pytest.approx(1, abs=0.01)
    assert float(SCHEDULE.transport(levels[:-1], levels[1:]).noise.abs().max()) == 0


def test_transport_with_the_true_noise_lands_on_the_noised_state():
    t = torch.randint(1, 1001, (100,))
    s = (torch.rand(100) * t).long()
    x, eps = torch.randn(100).double(), torch.randn(100).double()
    move = SCHEDULE.transport(t, s)
    z_t = SCHEDULE.alpha(t) * x + SCHEDULE.sigma(t) * eps
    z_s = SCHEDULE.alpha(s) * x + SCHEDULE.sigma(s) * eps
    np.testing.assert_allclose(move.mean_z * z_t - move.mean_eps * eps, z_s, rtol=1e-6, atol=1e-9)
