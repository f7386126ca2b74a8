"""Recipes validate, and every mistake is one sentence."""

from pathlib import Path

import pytest

from ead_core.common.limits import RECIPE
from ead_core.config import Config, load_config, parse_overrides
from ead_core.errors import ConfigError, DataError

RECIPES = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_validates(recipe):
    config = load_config(recipe)
    assert Config.model_validate(config.model_dump()) == config


def test_there_are_recipes():
    assert {path.stem for path in RECIPES} >= {"demo", "qm9", "qm9_conditional", "qm9_small"}


@pytest.fixture
def config():
    return Config(data={"path": "x.npz"})


def test_flat_and_override_are_inverse(config):
    changed = config.override({"sampler.async_ratio": 0.4, "training.steps": 7})
    assert changed.flat()["sampler.async_ratio"] == 0.4
    assert Config(data={"path": "x.npz"}).override(changed.flat()) == changed


def test_sections_cannot_be_changed(config):
    with pytest.raises(Exception, match="frozen"):
        config.sampler.async_ratio = 1


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "sampler.async_ratoi=0.4",
            "unknown configuration key 'sampler.async_ratoi'; did you mean sampler.async_ratio?",
        ),
        ("sampler.async_ratio=1.5", "sampler.async_ratio: must be less than or equal to 1, not 1.5."),
        (
            "sampler.policy=greedy",
            "sampler.policy: must be 'synchronous', 'manual', 'adaptive' or 'random', not 'greedy'.",
        ),
        ("sampler.advance_rate=2", "sampler.advance_rate.0: must be less than or equal to 1, not 2."),
        ("sampler.advance_rate=[0.5, fast]", "sampler.advance_rate.1: must be a valid number"),
        ("sampler.advance_rate=[]", "sampler.advance_rate: "),
        ("sampler.history_window=two", "sampler.history_window: must be a valid integer"),
        ("training.level_focus=1.5", "training.level_focus: must be less than or equal to 1, not 1.5."),
        ("training.level_focus=often", "training.level_focus: must be a valid number"),
        ("sampler.guidance=-1", "sampler.guidance: must be greater than or equal to 0, not -1."),
        (
            "conditioning.properties=[gap, mu, gap]",
            "conditioning.properties: must be distinct, but gap",
        ),
        (
            "conditioning.properties=num_atoms",
            "conditioning.properties: must not hold num_atoms",
        ),
        ("conditioning.half=third", "conditioning.half: must be 'all', 'first' or 'second', not 'third'."),
        ("conditioning.drop_all=1.5", "conditioning.drop_all: must be less than or equal to 1, not 1.5."),
        ("diffusion.interval=2000", "diffusion: interval (2000) must not exceed steps (1000)."),
        ("async_ratio", "override 'async_ratio' must have the form key=value"),
        ("sampler=3", "unknown configuration key 'sampler'"),
    ],
)
def test_a_wrong_override_is_one_sentence(config, override, sentence):
    with pytest.raises(ConfigError) as error:
        config.override(parse_overrides([override]))
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data: [1", "is not valid YAML"),
        ("hello", "must hold sections"),
        ("network: {kind: egnn}", "data: is required."),
        ("data: {path: a, pth: b}", "unknown configuration key 'data.pth'; did you mean data.path?"),
        ("data: {path: a}\ndata: {path: b}", "the key 'data' is given twice, in line 1 and in line 2"),
        ("data:\n  path: a\n  split: auto\n  path: b", "the key 'path' is given twice, in line 2 and in line 4"),
        ("data: {path: a}\nplatform: {x: [{y: 1, y: 2}]}", "the key 'y' is given twice"),
        ("data: {'path': a, path: b}", "the key 'path' is given twice"),
        ("a: &a {b: *a}", "refers to itself"),
        ("a: " + "[" * 1500, "is nested too deeply"),
        (
            "\n".join(f"a{n}: &a{n} [" + f"*a{n - 1}," * 9 * (n > 0) + "1]" for n in range(9)),
            "more than 100,000 values",
        ),
        ("a: \x07", "is not valid YAML"),
        ("a: !!python/object:os.system {}", "is not valid YAML"),
        ("a: 2001-99-99", "is not valid YAML"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "recipe.yaml")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "no.yaml")


@pytest.mark.parametrize(("text", "names"), [("gap", ("gap",)), ("[gap, atoms_C]", ("gap", "atoms_C")), ("[]", ())])
def test_properties_are_a_name_or_a_list(text, names):
    config = Config(data={"path": "x.npz"}).override(parse_overrides([f"conditioning.properties={text}"]))
    assert config.conditioning.properties == names
    assert load_config_again(config) == config


def load_config_again(config):
    return Config.model_validate(config.model_dump(mode="json"))


@pytest.mark.parametrize(("text", "rates"), [("0.5", (0.5,)), ("[0.5, 1]", (0.5, 1.0))])
def test_an_advance_rate_is_a_number_or_a_list(text, rates):
    config = Config(data={"path": "x.npz"}).override(parse_overrides([f"sampler.advance_rate={text}"]))
    assert config.sampler.advance_rate == rates


def test_a_merged_key_may_be_given_again(tmp_path):
    text = "data: {path: x.npz}\ntraining: &few {steps: 5, seed: 1}\nsampler: {}\n"
    (tmp_path / "recipe.yaml").write_text(text.replace("{steps", "{<<: {steps: 7, seed: 2}, steps"))
    config = load_config(tmp_path / "recipe.yaml")
    assert (config.training.steps, config.training.seed) == (5, 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_recipe_is_unicode(tmp_path, encoding):
    (tmp_path / "recipe.yaml").write_text("data: {path: mélange.npz}", encoding=encoding)
    assert load_config(tmp_path / "recipe.yaml").data.path == "mélange.npz"


def test_an_override_with_a_key_given_twice_is_refused():
    with pytest.raises(ConfigError, match="the key 'a' is given twice"):
        parse_overrides(["sampler.x={a: 1, a: 2}"])


def test_a_recipe_without_end_is_refused(tmp_path):
    (tmp_path / "endless.yaml").write_text("a: b\n" * (RECIPE // 5 + 1))
    with pytest.raises(DataError, match=r"endless\.yaml is larger than 1 MiB"):
        load_config(tmp_path / "endless.yaml")
