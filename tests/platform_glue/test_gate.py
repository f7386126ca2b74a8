"""The gate in closed form: what must be shown, to which confidence, at which cost."""

import math
from pathlib import Path

import numpy as np
import pytest
from ead_platform.registry.gate import METRICS, GateConfig, Outcomes, decide, load_gate
from ead_platform.training.recipe import Recipe

from ead_core.common.intervals import two_sided, wilson
from ead_core.config import load_config
from ead_core.errors import ConfigError

OPEN = {"gain": {}, "floor": {}, "max_calls_ratio": 100}


ROOT = Path(__file__).parents[2]


def outcomes(hits, calls=100.0, seconds=1.0):
    """All metrics alike; `calls` constant unless it is an array."""
    hits = np.asarray(hits, dtype=bool)
    return Outcomes(dict.fromkeys(METRICS, hits), np.broadcast_to(np.float64(calls), hits.shape), seconds)


def of(total, successes):
    return outcomes(np.arange(total) < successes)


def checks(decision):
    return {check.name: check for check in decision.checks}


def test_the_floor_is_held_against_the_lower_end_of_wilsons_interval():
    gate = GateConfig(**{**OPEN, "floor": {"validity": 0.7}})
    low = wilson(80, 100)[0]
    assert 0.7 < low < 0.8
    assert decide(of(100, 80), None, gate).passed
    assert not decide(of(100, 78), None, gate).passed  # 78 % is not shown to be 70 %
    assert wilson(78, 100)[0] < 0.7
    check = checks(decide(of(100, 80), None, gate))["floor.validity"]
    assert check.interval == pytest.approx((low, wilson(80, 100)[1]))


def test_the_first_candidate_has_only_floors_to_pass():
    decision = decide(of(100, 90), None, GateConfig())
    assert decision.passed
    assert set(checks(decision)) == {"floor.molecule_stability", "floor.validity"}


def test_an_equal_candidate_has_no_gain_but_no_loss_either():
    both = of(1000, 700)
    assert not decide(both, both, GateConfig(**{**OPEN, "gain": {"validity": 0.0}})).passed
    assert decide(both, both, GateConfig(**{**OPEN, "gain": {"validity": -0.003}})).passed


def discordant(only_champion, only_candidate, both, neither):
    """Hits of champion and candidate."""
    counts = (only_champion, only_candidate, both, neither)
    return outcomes(np.repeat([1, 0, 1, 0], counts)), outcomes(np.repeat([0, 1, 1, 0], counts))


def test_the_pairs_decide_and_not_the_shares():
    """50 % against 55 %: shown by 5 molecules of 100 if nothing else differs, not if 95 differ."""
    gate = GateConfig(**{**OPEN, "gain": {"validity": 0.0}, "confidence": 0.9})
    champion, candidate = discordant(0, 5, 50, 45)
    assert decide(candidate, champion, gate).passed
    champion, candidate = discordant(45, 50, 5, 0)
    assert champion.hits["validity"].mean() == 0.5
    assert candidate.hits["validity"].mean() == 0.55
    assert not decide(candidate, champion, gate).passed


def test_a_gain_is_as_sure_as_was_asked():
    champion, candidate = discordant(30, 48, 500, 422)
    told = [
        decide(candidate, champion, GateConfig(**{**OPEN, "gain": {"validity": 0.0}, "confidence": confidence})).passed
        for confidence in (0.8, 0.95, 0.999)
    ]
    assert told == [True, True, False]
    low = (48 - 30) / 1000 - two_sided(0.95) * math.sqrt(78 / 1000**2)  # the normal approximation, not Newcombe
    assert 0 < low < 0.002


def test_calls_may_grow_by_the_ratio_and_not_more():
    champion = of(50, 25)
    gate = GateConfig(**{**OPEN, "max_calls_ratio": 1.2})
    for calls, passed in ((120.0, True), (120.1, False), (13.0, True)):
        decision = decide(outcomes(np.ones(50), calls), champion, gate)
        assert decision.passed is passed
        assert checks(decision)["ratio.calls"].interval == pytest.approx((calls / 100, calls / 100))


def test_the_interval_of_the_calls_is_that_of_the_ratio():
    """Against the bootstrap, which resamples molecules as pairs."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 20, 4000)
    a, b = 150 + shared + rng.normal(0, 10, 4000), 100 + shared + rng.normal(0, 10, 4000)
    check = checks(decide(outcomes(np.ones(4000), a), outcomes(np.ones(4000), b), GateConfig(**OPEN)))["ratio.calls"]
    rows = rng.integers(0, 4000, (1000, 4000))
    low, high = np.percentile(a[rows].mean(1) / b[rows].mean(1), (2.5, 97.5))
    assert check.value == pytest.approx(a.mean() / b.mean())
    assert check.interval[0] == pytest.approx(low, abs=0.15 * (high - low))
    assert check.interval[1] == pytest.approx(high, abs=0.15 * (high - low))


def test_seconds_count_only_if_asked():
    slow, champion = outcomes(np.ones(50), seconds=3.0), of(50, 25)
    assert decide(slow, champion, GateConfig(**OPEN)).passed
    decision = decide(slow, champion, GateConfig(**{**OPEN, "max_seconds_ratio": 2}))
    assert not decision.passed
    assert decision.reason == "seconds 3 times the champion's, allowed 2"


def test_the_reason_names_all_that_was_not_met():
    reason = decide(of(100, 40), of(100, 60), GateConfig()).reason
    assert "molecule stability 40.0 % (30.9–49.8), needed 50.0" in reason
    assert "validity -20.0 (" in reason
    assert "needed more than -5.0" in reason


def test_a_file_and_overrides_change_the_defaults(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {path: x.npz}\npromotion: {num: 300, floor: {strict_validity: 0.4}}\n")
    gate = load_gate(path, ["promotion.gain.validity=-0.1", "promotion.sampler.steps=50"])
    assert (gate.num, gate.floor, gate.sampler) == (300, {"strict_validity": 0.4}, {"steps": 50})
    assert gate.gain == GateConfig().gain | {"validity": -0.1}
    assert gate.flat()["promotion.gain.validity"] == -0.1
    assert load_config(path) == Recipe.load(path).core  # to a training it is as if the section were not there


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("promotion.gain.beauty=1", "must be 'molecule_stability', 'validity', 'perceived' or 'strict_validity'"),
        ("promotion.gian=1", "did you mean promotion.gain"),
        ("promotion.num=1", "promotion.num: must be greater than or equal to 2, not 1"),
        ("promotion.gain.validity=.nan", "must be a finite number"),
        ("promotion.confidence=1", "promotion.confidence: must be less than 1"),
        ("sampler.steps=1", "only promotion.* keys can be given to promote, not 'sampler.steps'"),
    ],
)
def test_a_mistake_is_one_sentence(override, sentence):
    with pytest.raises(ConfigError) as caught:
        load_gate(None, [override])
    assert sentence in str(caught.value)


def test_a_file_without_the_section_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: {path: x.npz}\n")
    with pytest.raises(ConfigError, match="has no section `promotion:`"):
        load_gate(tmp_path / "recipe.yaml", [])


def test_the_gate_that_comes_along_is_the_default_on_few_steps():
    sampler = {"steps": 100, "grid": "quadratic", "solver": "dpmpp_2m_sde"}
    assert load_gate(ROOT / "platform" / "gate.yaml", []) == GateConfig(sampler=sampler)
