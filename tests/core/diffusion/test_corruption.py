"""Asynchronous noising respects its bounds, its marginals, and EDM's loss as a special case."""

import pytest
import torch

from ead_core.config import DiffusionConfig
from ead_core.data.tensors import centre_state, size_mask
from ead_core.diffusion.corruption import DUMMY_RULES, Corrupted, corrupt, draw_levels
from ead_core.diffusion.gauge import ZGauge
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule(1000)


def diffusion(interval=29, steps=1000, **more):
    return DiffusionConfig(steps=steps, interval=interval, **more)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mode", ["uniform", "scaled"])
@pytest.mark.parametrize("interval", [0, 9, 29])
def test_levels_stay_within_the_interval(mode, interval):
    levels = draw_levels(torch.ones(2000, 20, dtype=torch.bool), diffusion(interval, offset_mode=mode), generator())
    spread = levels.max(1).values - levels.min(1).values
    assert int(levels.min()) >= 0
    assert int(levels.max()) <= 1000
    assert int(spread.max()) <= 2 * interval
    if interval:
        assert int(spread.max()) >= 2 * interval - 2


@pytest.mark.parametrize("power", [1, 2, 3])
def test_levels_follow_their_power(power):
    """P(t* < k) = (k / (T + 1))^(1 / power) for t* = ⌊(T + 1) u^power⌋."""
    levels = draw_levels(torch.ones(40_000, 1, dtype=torch.bool), diffusion(0, 9), generator(), power)
    for k in (1, 3, 9):
        expected = (k / 10) ** (1 / power)
        assert float((levels < k).double().mean()) == pytest.approx(expected, abs=0.01)
    assert set(levels.unique().tolist()) == set(range(10))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("focus", [0.25, 0.5, 1])
def test_a_share_of_the_levels_is_logit_normal_around_the_focus(power, focus):
    """P(t* < k) = (1 − f) u^(1 / power) + f Φ((logit u − logit 0.28) / 0.5), u = k / (T + 1)."""
    levels = draw_levels(torch.ones(100_000, 1, dtype=torch.bool), diffusion(0), generator(), power, focus=focus)
    below = torch.tensor([10, 100, 200, 250, 281, 300, 400, 600, 900])
    u = below.double() / 1001
    normal = torch.special.ndtr((u.logit() - torch.tensor(0.28).double().logit()) / 0.5)
    expected = (1 - focus) * u ** (1 / power) + focus * normal
    assert (levels < below).double().mean(dim=0).tolist() == pytest.approx(expected.tolist(), abs=0.006)
    assert int(levels.min()) >= 0
    assert int(levels.max()) <= 1000


def test_without_focus_the_draws_are_what_they_were():
    """The first level of published runs: ⌊(T + 1) u²⌋ of the generator's first uniforms."""
    mask = torch.ones(50, 1, dtype=torch.bool)
    uniform = torch.rand((50, 1), generator=generator(), dtype=torch.float64)
    assert torch.equal(draw_levels(mask, diffusion(0), generator(), 2, focus=0.0), (uniform**2 * 1001).long())


def test_the_focus_moves_whole_molecules():
    """Its levels spread within the interval as all others do."""
    levels = draw_levels(torch.ones(2000, 20, dtype=torch.bool), diffusion(29), generator(), focus=1.0)
    spread = levels.max(1).values - levels.min(1).values
    assert 30 < int(spread.min()) <= int(spread.max()) <= 58


def test_offsets_are_uniform_and_symmetric():
    levels = draw_levels(torch.ones(40_000, 2, dtype=torch.bool), diffusion(5), generator())
    inner = levels[(levels > 20).all(1) & (levels < 980).all(1)]
    difference = (inner[:, 0] - inner[:, 1]).double()
    expected_variance = 2 * (11**2 - 1) / 12  # two independent uniforms on 11 integers
    assert abs(float(difference.mean())) < 0.1
    assert float(difference.var()) == pytest.approx(expected_variance, rel=0.03)


def test_scaled_offsets_show_synchronous_molecules_often():
    levels = draw_levels(torch.ones(6000, 10, dtype=torch.bool), diffusion(offset_mode="scaled"), generator())
    synchronous = (levels == levels[:, :1]).all(1).double().mean()
    assert float(synchronous) == pytest.approx(1 / 30, abs=0.01)


def offsets_of_dummies(rule, atoms=40_000):
    """δ of atoms and of dummies beside a first atom whose own offset is not known: C is small, T large."""
    mask = torch.ones(atoms, 3, dtype=torch.bool)
    dummies = torch.zeros_like(mask)
    dummies[:, 1] = True
    plain = draw_levels(mask, diffusion(8, 10**5), generator())  # the same draws of t* and of offsets
    drawn = draw_levels(mask, diffusion(8, 10**5, dummy_rule=rule), generator(), dummies=dummies)
    assert torch.equal(drawn[:, [0, 2]], plain[:, [0, 2]])
    return drawn[:, 1], plain[:, 1], drawn


@pytest.mark.parametrize("rule", DUMMY_RULES)
def test_half_of_the_dummies_follow_their_rule(rule):
    """Mean offset: ½ · 0 + ½ · that of the rule."""
    dummy, standard, drawn = offsets_of_dummies(rule)
    moved = float((dummy - standard).double().mean())
    expected = {"half": 4 / 2, "upper": 6 / 2, "top": 8 / 2}.get(rule)
    if rule == "late":  # t_i ~ U{t*..T}: half of the way up, for half of the dummies
        expected = float((10**5 - drawn[:, 0]).double().mean()) / 4
        assert moved == pytest.approx(expected, rel=0.03)
    else:
        assert moved == pytest.approx(expected, abs=0.1)
    assert int((dummy == standard).sum()) > 0.4 * len(dummy)
    assert int(drawn.max()) <= 10**5


def test_noised_state_has_the_right_moments_and_centre():
    mask = size_mask([6] * 20_000)
    state = centre_state(torch.randn(1, 6, 8, generator=generator(), dtype=torch.float64), mask[:1]).expand(
        20_000, -1, -1
    )
    levels = torch.tensor([100, 110, 120, 130, 140, 150]).expand(20_000, -1)
    noised = corrupt(state, levels, mask, ZGauge(SCHEDULE), generator(1))
    assert float(noised.z[..., :3].sum(1).abs().max()) < 1e-10
    alpha, sigma = SCHEDULE.alpha(levels[0])[:, None], SCHEDULE.sigma(levels[0])[:, None]
    features = noised.z[..., 3:]
    assert torch.allclose(features.mean(0), alpha * state[0, :, 3:], atol=5 * 0.3 / 20_000**0.5)
    assert torch.allclose(features.std(0), sigma.expand(-1, 5), rtol=0.03)
    # the coordinate part is the same up to the projection: variance of centred noise, distortion of the mean < 0.3 %
    centred_mean = (alpha * state[0, :, :3]) - (alpha * state[0, :, :3]).mean(0)
    assert torch.allclose(noised.z[..., :3].mean(0), centred_mean, atol=5 * 0.3 / 20_000**0.5)


def test_constant_levels_give_edms_loss_on_equal_size_batches():
    mask = size_mask([5, 5])
    eps, predicted = torch.randn(2, 2, 5, 9, generator=generator(), dtype=torch.float64)
    levels = torch.tensor([[300] * 5, [0] * 5])
    ours = noise_loss(predicted, Corrupted(eps, eps, levels), mask, torch.ones(mask.shape))
    error = (eps - predicted) ** 2
    edm = 0.5 * error.sum((1, 2)) / (9 * 5)
    edm_at_zero = 0.5 * error[..., :3].sum((1, 2)) / (9 * 5)
    assert torch.allclose(ours, torch.stack([edm[0], edm_at_zero[1]]))


def test_loss_counts_real_atoms_only():
    wide, narrow = size_mask([3], width=8), size_mask([3])
    eps, predicted = torch.randn(2, 1, 8, 9, generator=generator())
    levels = torch.full((1, 8), 10)
    padded = noise_loss(predicted, Corrupted(eps, eps, levels), wide, torch.ones(wide.shape))
    plain = noise_loss(
        predicted[:, :3], Corrupted(eps[:, :3], eps[:, :3], levels[:, :3]), narrow, torch.ones(narrow.shape)
    )
    assert torch.allclose(padded, plain)
