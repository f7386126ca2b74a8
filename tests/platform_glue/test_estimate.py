"""What a generation will cost, said before it."""

import math

import pytest
from ead_platform.generation.estimate import Estimate, estimate
from ead_platform.generation.plan import GenerationPlan

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.evaluation.criteria import Acceptance
from ead_core.sampling.order import Order

from ..in_this_process import in_this_process


def test_attempts_follow_from_the_share_that_is_accepted():
    found = Estimate(probe=64, accepted=32, attempts=10**9, until=1000, calls=50, seconds=0.1, size=500)
    middle, least, most = found.needed
    assert middle == 2000
    assert least < middle < most
    assert (least, most) == pytest.approx((1000 / 0.6186, 1000 / 0.3814), rel=1e-3)  # Wilson's interval of 32 of 64
    assert found.molecules == 1000
    told = "\n".join(found.lines(actors=2))
    assert "network calls  100,000" in told
    assert "parquet        500 kB" in told


def test_what_is_never_accepted_needs_all_attempts():
    found = Estimate(probe=64, accepted=0, attempts=5000, until=1000, calls=50, seconds=0.1, size=500)
    middle, least, most = found.needed
    assert (middle, most, found.molecules) == (5000, 5000, 0)
    assert 1000 < least <= 5000
    assert not any(math.isinf(value) for value in found.needed)


def test_without_a_number_to_reach_all_attempts_are_made():
    found = Estimate(probe=10, accepted=4, attempts=100, until=None, calls=50, seconds=36, size=1)
    assert found.needed == (100, 100, 100)
    assert found.molecules == 40
    assert "actor-hours    1; 60 min with 1 actor" in found.lines(1)


def test_it_is_measured_on_the_molecules_of_the_generation(tiny_checkpoint):
    order = Order(Acceptance.parse("even_electrons"), None)
    sampler = SamplerConfig(policy="synchronous", steps=4, repair_attempts=0)
    plan = GenerationPlan(load_checkpoint(tiny_checkpoint), 50, 8, 1, (4,), sampler, 1, 0, order=order)
    with in_this_process():
        found = estimate(plan, 6)
    assert (found.probe, found.attempts, found.calls) == (6, 50, 5)
    assert 0 < found.accepted <= 6
    assert found.seconds > 0
    assert found.size > 0
