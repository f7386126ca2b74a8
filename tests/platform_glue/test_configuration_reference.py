"""The reference of all settings is the one that their fields make."""

import importlib.util
from pathlib import Path

import pytest
from ead_platform.registry.gate import GateConfig
from ead_platform.training.recipe import Recipe

from ead_core.config import load_config
from ead_core.config.reference import entries
from ead_core.errors import ConfigError
from serve.settings import ServeSettings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(), "run `python docs/reference/generate.py`"


@pytest.mark.parametrize("model", [Recipe, GateConfig, ServeSettings])
def test_every_key_has_a_meaning(model):
    assert all(entry.meaning.endswith((".", "]")) for entry in entries(model).values())


def test_a_judge_makes_no_card(tmp_path):
    path = tmp_path / "judge.yaml"
    path.write_text("data: {path: x.npz}\ntraining: {objective: predict}\nconditioning: {properties: mu}\n")
    load_config(path)
    with pytest.raises(ConfigError, match=r"platform\.card_molecules has no effect with training\.objective=predict"):
        Recipe.load(path, ["platform.card_molecules=64"])
