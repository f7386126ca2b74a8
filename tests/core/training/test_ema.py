"""The moving average has its closed form, and continues from stored weights."""

import math

import pytest
import torch
from torch import nn

from ead_core.training.ema import Ema


@pytest.fixture
def model():
    return nn.Linear(3, 2).double()


def shift(model, by):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)


def distance(ema, model):
    """Average minus weights, which is the same for all entries when all were shifted alike."""
    gaps = torch.cat([(ema.weights[name] - p.detach()).flatten() for name, p in model.named_parameters()])
    assert float(gaps.max() - gaps.min()) < 1e-12
    return float(gaps[0])


def test_warm_up_forgets_the_start_like_a_binomial(model):
    """Π (k + 1)/(k + 10) over k < n is 1 / C(n + 9, 9)."""
    ema = Ema(model, 0.9999)
    shift(model, -1.0)
    for n in range(1, 31):
        ema.update(model, n - 1)
        assert distance(ema, model) == pytest.approx(1 / math.comb(n + 9, 9), rel=1e-9)


def test_after_the_warm_up_the_start_decays_geometrically(model):
    ema = Ema(model, 0.9)
    shift(model, -1.0)
    for step in range(1000, 1010):
        ema.update(model, step)
    assert distance(ema, model) == pytest.approx(0.9**10)


def test_a_ramp_is_followed_at_its_steady_lag(model):
    """For weights that grow by 1 per step the average lags by d / (1 − d)."""
    ema = Ema(model, 0.8)
    for step in range(200):
        shift(model, 1.0)
        ema.update(model, step)
    assert distance(ema, model) == pytest.approx(-0.8 / 0.2)


def test_the_average_is_a_copy(model):
    ema = Ema(model, 0.9)
    shift(model, 1.0)
    assert distance(ema, model) == pytest.approx(-1.0)


def test_it_continues_from_stored_weights_to_the_bit(model):
    straight, first = Ema(model, 0.99), Ema(model, 0.99)
    shift(model, 0.3)
    straight.update(model, 0)
    first.update(model, 0)
    stored = {name: weight.clone() for name, weight in first.weights.items()}
    shift(model, 0.3)
    second = Ema(model, 0.99)
    second.load(stored)
    for ema in (straight, second):
        ema.update(model, 1)
    assert all(torch.equal(straight.weights[name], second.weights[name]) for name in stored)
    assert not torch.equal(second.weights["weight"], stored["weight"])
