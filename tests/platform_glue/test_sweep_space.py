"""Search spaces: what YAML may say, what is refused and in which words, and that trials only have keys with effect."""

import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import yaml
from ead_platform.sweep.checked_space import check_space, load_space, reference_points
from ead_platform.sweep.space import Space, parse_parameter
from ead_platform.sweep.study import Campaign

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import Config
from ead_core.config.reference import entries
from ead_core.data.targets import Targets
from ead_core.errors import ConfigError
from ead_core.notes import noted

SPACES = sorted((Path(__file__).parents[2] / "configs" / "sweeps").glob("*.yaml"))
RANGE = {"type": "float", "low": 0.1, "high": 0.5}


@pytest.fixture(scope="module")
def campaign(tiny_checkpoint):
    return Campaign(load_checkpoint(tiny_checkpoint), seed=3, first=0, samples=8, threads=1)


def points(space, count, seed=0):
    """So many random points of a space."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        ([0.1, None, "a"], [0.1, None, "a"], [0.2]),
        ([True, 3], [True, 3], []),
        (RANGE, None, None),
        ({**RANGE, "step": 0.2}, [0.1, 0.3, 0.5], None),
        ({"type": "float", "low": 1e-3, "high": 10, "log": True}, None, None),
        ({"type": "int", "low": 2, "high": 5}, [2, 3, 4, 5], None),
        ({"type": "int", "low": 2, "high": 8, "step": 3}, [2, 5, 8], None),
        ({"type": "int", "low": 1, "high": 100, "log": True}, None, None),
    ],
)
def test_every_kind_of_parameter_is_drawn_within_its_range_and_read_back(written, inside, outside):
    space = Space({"x.y": parse_parameter("x.y", written)})
    drawn = [point["x.y"] for point in points(space, 40)]
    for value in drawn:
        assert space.read({"x.y": str(value)}) == {"x.y": value}
        assert type(space.read({"x.y": str(value)})["x.y"]) is type(value)
    if inside:
        assert all(any(value == pytest.approx(one) for one in inside) for value in drawn)
        assert len(set(drawn)) == len(inside)
    else:
        assert written["low"] <= min(drawn) < max(drawn) <= written["high"]
    if isinstance(written, dict) and written.get("log"):
        middle = math.sqrt(written["low"] * written["high"])
        assert 8 <= sum(value < middle for value in drawn) <= 32  # half of them, by the logarithm
    marks = space.parameters["x.y"].marks()
    assert len(marks) <= 10
    assert {space.read({"x.y": str(mark)})["x.y"] for mark in marks} == set(marks)
    assert space.to_json() == {"x.y": written}


@pytest.mark.parametrize("text", ["0.6", "x", "nan"])
def test_a_stored_value_outside_of_the_range_is_told(text):
    space = Space({"x.y": parse_parameter("x.y", RANGE)})
    with pytest.raises(ValueError, match=r"x\.y is '.*'|could not convert"):
        space.read({"x.y": text})


def test_trials_have_only_keys_that_have_an_effect(campaign):
    space = check_space(
        {
            "sampler.corrector_mode": ["renoise", "repeat"],  # of itself only with a corrector
            "sampler.corrector": [0, 1],
            "sampler.policy": ["adaptive", "synchronous"],
            "sampler.history_window": {"type": "int", "low": 2, "high": 4, "unless": {"sampler.async_ratio": [0, 0.1]}},
            "sampler.async_ratio": [0.1, 0.3],
        },
        campaign,
    )
    drawn = points(space, 60)
    assert {tuple(sorted(point)) for point in drawn} > set()
    for point in drawn:
        assert ("sampler.corrector_mode" in point) == (point["sampler.corrector"] == 1)
        assert ("sampler.async_ratio" in point) == (point["sampler.policy"] == "adaptive")
        windowed = point["sampler.policy"] == "adaptive" and point["sampler.async_ratio"] not in (0, 0.1)
        assert ("sampler.history_window" in point) == windowed
        changed = campaign.checkpoint.config.override({"sampler.policy": "adaptive", **point})
        changed.refuse_idle(point)  # raises for a key without effect
    texts = {key: str(value) for key, value in drawn[0].items()}
    assert space.read({**dict.fromkeys(space.keys, ""), **texts}) == drawn[0]


def test_keys_that_the_recipe_of_the_model_rules_out_are_left_out(campaign, conditional_checkpoint):
    told = []
    content = {"sampler.guidance": {"type": "float", "low": 0, "high": 2, "unless": {"conditioning.properties": []}}}
    conditional = replace(campaign, checkpoint=load_checkpoint(conditional_checkpoint))
    asked = replace(conditional, targets=Targets.of({"gap": 4500}))
    assert check_space(content, campaign).keys == ["sampler.async_ratio"]
    assert "sampler.guidance" in check_space(content, asked).keys
    with noted(told.append):
        assert check_space(content, conditional).keys == ["sampler.async_ratio"]
    assert told == ["sampler.guidance is left out: without --target there is nothing to be guided to."]


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
@pytest.mark.parametrize("model", ["qm9-small", "qm9-deep", "qm9-small-cond"])
def test_the_spaces_that_come_with_the_program_fit_the_bundled_models(path, model):
    campaign = Campaign(load_checkpoint(model), seed=0, first=0, samples=2, threads=1)
    space = load_space(path, campaign)
    refused = [reason for point in points(space, 100) if (reason := campaign.refusal(point))]
    assert len(refused) < 30
    assert len(reference_points(space)) == 2
    assert not [point for point in reference_points(space) if campaign.refusal(point)]
    assert "sampler.guidance" not in space.keys  # nobody has named a target


def test_the_founding_experiment_is_the_ratio_by_the_window():
    [founding] = [path for path in SPACES if path.stem == "async_ratio"]
    content = yaml.safe_load(founding.read_text())
    assert content["sampler.async_ratio"] == [0.0, 0.05, 0.1, 0.2, 0.3, 0.4]
    assert content["sampler.history_window"] == [2, 3]


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({}, "it is empty; it needs a parameter per sampler key"),
        ({"training.steps": [1]}, "training.steps must be a sampler key"),
        ({"sampler.async_ratio": 0.2}, "sampler.async_ratio must be a list of choices or a mapping with type"),
        ({"sampler.async_ratio": []}, "sampler.async_ratio: choices List should have at least 1 item"),
        ({"sampler.async_ratio": {"low": 0, "high": 1}}, "sampler.async_ratio: type must be float, int or choice."),
        ({"sampler.async_ratio": {**RANGE, "type": "real"}}, "sampler.async_ratio: type must be float, int or choice."),
        ({"sampler.async_ratio": {**RANGE, "hight": 1}}, "sampler.async_ratio: 'hight' is not known with type: float."),
        ({"sampler.async_ratio": {**RANGE, "low": "a"}}, "sampler.async_ratio: low must be a valid number"),
        ({"sampler.async_ratio": {**RANGE, "low": 0.9}}, "sampler.async_ratio: low (0.9) must not exceed high (0.5)."),
        ({"sampler.async_ratio": {**RANGE, "low": 0, "log": True}}, "low must be above 0 with log: true, not 0."),
        ({"sampler.async_ratio": {**RANGE, "step": 0.3}}, "high must be low plus a multiple of step (0.3)."),
        ({"sampler.async_ratio": {**RANGE, "step": 0.1, "log": True}}, "step does not go with log: true"),
        ({"sampler.steps": {"type": "int", "low": 1.5, "high": 3}}, "sampler.steps: low must be a valid integer"),
        ({"sampler.guidance_levels": [[0.1, 0.4]]}, "choices must be single values, not [0.1, 0.4]."),
        ({"sampler.batch_size": [10]}, "must be the same in all trials"),
        ({"sampler.branches": [1, 8]}, "sampler.branches has no part in a trial"),
        ({"sampler.repair_level": [0.1, 0.4]}, "sampler.repair_level has no part in a trial"),
        ({"sampler.pause_mode": ["repat"]}, "sampler.pause_mode: must be 'repeat', 'renoise' or 'hold'"),
        ({"sampler.lag": [1, 2]}, "sampler.lag has no effect in any trial; it needs sampler.policy=manual."),
        ({"sampler.async_ratoi": [0.1]}, "did you mean sampler.async_ratio?"),
        ({"sampler.async_ratio": {**RANGE, "high": 1.7}}, "must be less than or equal to 1, not 1.7."),
        ({"sampler.interval": [99]}, "exceeds twice the training interval"),
        ({"sampler.steps": {"type": "int", "low": 10, "high": 41}}, "sampler.steps must be at most the 40 levels"),
        ({"sampler.start": [0.5]}, "sampler.start=0.5 needs the moments of the training molecules"),
        ({"sampler.guidance": [0, 1]}, "sampler.guidance=1 needs a model that was trained with properties"),
        (
            {"sampler.history_window": {"type": "choice", "choices": [2], "when": {"sampler.async_ratoi": 0.1}}},
            "sampler.history_window: the condition on 'sampler.async_ratoi': unknown configuration key",
        ),
        (
            {
                "sampler.steps": {"type": "choice", "choices": [20], "when": {"sampler.grid": "even"}},
                "sampler.grid": {"type": "choice", "choices": ["even"], "when": {"sampler.steps": 20}},
            },
            "the conditions of sampler.grid and sampler.steps go round in a circle.",
        ),
        (
            {"sampler.corrector": {"type": "choice", "choices": [1], "when": {"sampler.async_ratio": 0.9}}},
            "sampler.corrector has no effect in any trial; it needs sampler.async_ratio=0.9.",
        ),
    ],
)
def test_a_wrong_space_is_one_sentence_that_names_file_and_key(campaign, tmp_path, space, sentence):
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(space))
    with pytest.raises(ConfigError) as error:
        load_space(path, campaign)
    assert sentence in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    if space:
        assert any(key in str(error.value) for key in space)


@pytest.mark.parametrize("text", ["- 1\n", "3", "sampler.steps: [1\n"])
def test_a_file_that_is_no_mapping_is_one_sentence(campaign, tmp_path, text):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"space\.yaml (must hold a parameter per sampler key|is not valid YAML)"):
        load_space(tmp_path / "space.yaml", campaign)


def test_reference_points_are_added_to_any_list_of_choices(campaign):
    space = check_space({"sampler.async_ratio": [0.4], "sampler.max_pauses": [3, 7]}, campaign)
    assert space.parameters["sampler.async_ratio"].choices == [0.4, 0.0, 0.2]
    assert reference_points(space) == [
        {"sampler.async_ratio": 0.0, "sampler.max_pauses": 3},
        {"sampler.async_ratio": 0.2, "sampler.max_pauses": 3},
    ]


def test_reference_points_are_otherwise_as_the_model_is(campaign):
    content = {"sampler.max_pauses": [3, 10], "sampler.temperature": {"type": "float", "low": 0.1, "high": 1}}
    wanted = {"sampler.async_ratio": 0.0, "sampler.max_pauses": 10, "sampler.temperature": 1.0}
    assert reference_points(check_space(content, campaign))[0] == wanted
    unreachable = check_space({"sampler.async_ratio": {"type": "float", "low": 0.1, "high": 0.5}}, campaign)
    assert reference_points(unreachable) == [{"sampler.async_ratio": 0.2}]


def test_a_space_without_the_ratio_gets_it_for_the_baseline(campaign):
    space = check_space({"sampler.history_window": [3]}, campaign)
    assert space.to_json() == {"sampler.async_ratio": [0.2, 0.0], "sampler.history_window": [3, 2]}
    assert reference_points(space)[0] == {"sampler.async_ratio": 0.0, "sampler.history_window": 2}


def test_what_no_trial_uses_is_told_by_the_beginning_of_its_name():
    """No key that sampling uses is caught by these beginnings."""
    from ead_platform.sweep.checked_space import WITHOUT_PART

    names = [entry.name for entry in entries(Config).values() if entry.section == "sampler"]
    caught = [name for name in names if name.startswith(WITHOUT_PART)]
    assert {name.split("_")[0] for name in caught} == {
        "composition", "formula", "property", "branches", "branch", "pruning", "repair",
    }  # fmt: skip
