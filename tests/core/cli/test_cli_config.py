"""`ead config` explains every key of a recipe."""

import pytest
from typer.testing import CliRunner

from ead_core.cli.main import app
from ead_core.config import Config
from ead_core.config.reference import entries
from ead_core.errors import ConfigError

KEYS = entries(Config)


def told(*arguments):
    """What `ead config` prints."""
    result = CliRunner().invoke(app, ["config", *arguments])
    if result.exception:
        raise result.exception
    return result.output


def test_all_keys_are_listed_by_section_with_their_default():
    lines = told().splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == list(KEYS)
    assert [line.split(":")[0] for line in lines if line[:1].isalpha()] == list(Config.model_fields)
    assert any(line.split()[:2] == ["sampler.async_ratio", "0.2"] for line in lines)


def test_a_section_is_listed_alone():
    lines = told("conditioning").split("\n")
    assert {line.split(".")[0] for line in lines if line.startswith("  ")} == {"  conditioning"}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_explains_itself(key):
    entry, text = KEYS[key], told(key)
    assert text.startswith(f"{key}: {entry.meaning}\n")
    assert len(entry.meaning.split()) >= 2
    assert entry.meaning.endswith((".", "]"))
    assert f"accepted   {entry.accepted}\n" in text


def test_the_share_of_asynchronous_levels_explains_itself():
    text = told("sampler.async_ratio")
    assert "a number from 0 to 1" in text
    assert "default    0.2" in text
    assert "only with  sampler.policy=adaptive or random" in text
    assert "sampler.async_ratio" in told("sampler.policy").partition("affects")[2]


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("sampler.async_rato", "did you mean sampler.async_ratio?"),
        ("sampling", "unknown configuration key 'sampling'"),
        ("platform.name", "belong to the platform and are explained in docs/reference/configuration.md"),
    ],
)
def test_an_unknown_key_is_one_sentence(key, sentence):
    with pytest.raises(ConfigError, match=sentence):
        told(key)
