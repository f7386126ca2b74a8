"""Presets: what a name stands for, and how far a checkpoint and a request can follow it."""

from dataclasses import replace

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import bundled, load_checkpoint
from ead_core.config.presets import NAMES, Presets
from ead_core.errors import CheckpointError, ConfigError
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.generation import sample
from ead_core.sampling.presets import preset_settings
from ead_core.sampling.requests import Request, prepare, sampler_config

SETTINGS = {"policy": "synchronous", "steps": 4, "start": 0.5, "temperature": 0.5}
OWN = Presets(
    fast={f"sampler.{key}": value for key, value in SETTINGS.items()},
    balanced={"sampler.steps": 8},
    best={"sampler.steps": 1000, "sampler.start": 0.5},
)


@pytest.fixture
def model(make_checkpoint):
    """With 20 levels and moments."""
    return replace(load_checkpoint(make_checkpoint({"training.fragments": 0.2})), presets=OWN)


def test_a_preset_makes_the_molecules_of_its_settings(model):
    named, spelt, plain = (sample(model, 2, **how) for how in ({"preset": "fast"}, SETTINGS, {}))
    assert np.array_equal(named.positions, spelt.positions)
    assert not np.array_equal(named.positions, plain.positions)


def test_settings_beside_a_preset_win_and_the_rest_is_the_checkpoints_own(model):
    config = sampler_config(model, {"steps": 3, "start": 1}, "fast")
    assert (config.steps, config.start, config.temperature) == (3, 1, 0.5)
    changes = {"steps": 3, "temperature": 0.5, "policy": "synchronous"}
    assert config == model.config.sampler.model_copy(update=changes)


def test_a_setting_without_effect_under_the_preset_is_refused(model):
    with pytest.raises(ConfigError, match=r"sampler.max_pauses has no effect with sampler.policy=synchronous"):
        sample(model, 1, preset="fast", max_pauses=3)


@pytest.mark.parametrize(
    ("name", "hint"), [("quick", r"\."), ("bast", "; did you mean fast[?]"), ("Fast", "; did you mean fast[?]")]
)
def test_an_unknown_preset_is_answered_with_the_choices(model, name, hint):
    with pytest.raises(ConfigError, match=f"the preset must be fast, balanced or best, not '{name}'{hint}$"):
        sample(model, 1, preset=name)


def test_around_a_fragment_molecules_begin_at_the_top(model):
    config = sampler_config(model, {}, "fast", around_fragment=True)
    assert (config.start, config.steps, config.temperature) == (1, 4, 0.5)
    fragment = Fragment(np.array([6, 8]), np.eye(2, 3))
    assert prepare(model, Request(1, config, sizes=(5,), fragment=fragment)).process.start is None


def test_without_moments_molecules_begin_at_the_top(model):
    old = replace(model, statistics=replace(model.statistics, moments={}))
    assert sample(old, 1, preset="fast").properties["nfe"] == [5]
    assert preset_settings(old, "fast")["sampler.start"] == 1


def test_there_are_no_more_steps_than_levels(model):
    assert preset_settings(model, "best")["sampler.steps"] == 10
    assert preset_settings(model, "best", around_fragment=True)["sampler.steps"] == 20


def generators():
    for name in bundled():
        try:
            yield load_checkpoint(name)
        except CheckpointError:  # a judge
            continue


@pytest.mark.parametrize("model", generators(), ids=lambda model: model.name)
def test_every_bundled_generator_carries_presets_of_rising_cost(model):
    calls = []
    for name in NAMES:
        process = prepare(model, Request(1, sampler_config(model, {}, name))).process
        without = replace(process, restarts=None)  # which few molecules make
        calls.append(without.most_calls + process.policy.most_pauses(29))
    assert calls == sorted(calls)
    assert calls[-1] <= 110
