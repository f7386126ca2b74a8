"""What was imported from elsewhere before still works: models registered in MLflow carry such a file."""

import importlib
import sys
import warnings

import pytest

import ead_core
from ead_core.moved import MOVED

OF_REGISTERED_MODELS = """
from ead_core.cli import sampler_settings
from ead_core.config import parse_overrides
from ead_core.data.priors import parse_sizes
from ead_core.data.sdf_writer import sdf_records
from ead_core.data.targets import parse_targets
from ead_core.data.usable import told, usable
from ead_core.diffusion.generation import fulfil
from ead_core.diffusion.requests import Request, sampler_config
from ead_core.metrics.chemistry import smiles_of
from ead_core.training.checkpoint import Checkpoint, load_checkpoint
"""


def test_files_of_registered_models_still_run():
    names = {}
    for name in ("metrics.chemistry", "training.checkpoint"):
        sys.modules.pop(f"ead_core.{name}", None)
    with pytest.warns(DeprecationWarning, match="ead_core.training.checkpoint is now"):
        exec(OF_REGISTERED_MODELS, names)
    assert names["load_checkpoint"] is ead_core.load_checkpoint
    assert names["sampler_settings"]({"sampler.steps": 50}) == {"steps": 50}


@pytest.mark.parametrize("old", MOVED)
def test_every_old_name_leads_to_a_module_that_exists(old):
    now = importlib.import_module(f"ead_core.{MOVED[old]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = importlib.import_module(f"ead_core.{old}")
    public = {name for name in vars(now) if not name.startswith("_")}
    assert public <= set(vars(before))


def test_a_renamed_name_is_refused_with_the_new_one():
    with pytest.raises(AttributeError, match=r"ead_core\.Plan is now ead_core\.EvaluationPlan"):
        ead_core.Plan  # noqa: B018
