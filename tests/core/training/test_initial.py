"""A training may start from a narrower model, whose first prediction it keeps."""

from dataclasses import replace

import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.dataset import compute_statistics
from ead_core.data.labels import labels_of
from ead_core.errors import CheckpointError
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.inputs import DenoiserInput
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

ALONE = Workers(0, 1, torch.device("cpu"))
LEVELS = {"diffusion.steps": 20, "diffusion.precision": 0.01}
TWO = {"conditioning.properties": ["alpha", "mu"]}


@pytest.fixture
def make_trainer(make_config, labelled):
    """A trainer of 20 levels that starts from the checkpoint in a folder."""

    def make(initial, changes=()):
        config = make_config({**LEVELS, "training.initial": str(initial), **dict(changes)})
        labels = labels_of(labelled, config.conditioning, 0)
        return Trainer.create(config, compute_statistics(labelled, name="", sha256="", labels=labels), ALONE)

    return make


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_conditional_model_starts_as_the_unconditional_one_whatever_it_is_told(make_checkpoint, make_trainer, kind):
    folder = make_checkpoint({"network.kind": kind})
    old, new = load_checkpoint(folder).denoiser, make_trainer(folder, {"network.kind": kind, **TWO}).network
    inputs = torch.randn(2, 5, 6), torch.randint(0, 21, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    assert torch.allclose(new(DenoiserInput(*inputs, torch.randn(2, 4))), old(DenoiserInput(*inputs)), atol=1e-6)
    assert not new.network.embed.weight[:, -4:].any()


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_model_with_dummies_starts_as_one_without(make_checkpoint, make_trainer, kind):
    """The dummy's channel comes first among an atom's; nothing is made of it, and nothing is predicted for it."""
    folder = make_checkpoint({"network.kind": kind})
    both = {"network.kind": kind, "diffusion.size_mode": "dummy", **TWO}
    old, new = load_checkpoint(folder).denoiser, make_trainer(folder, both).network
    levels, mask = torch.randint(0, 21, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    z, dummy = torch.randn(2, 5, 6), torch.randn(2, 5, 1)
    wide = new(DenoiserInput(torch.cat([z[..., :3], dummy, z[..., 3:]], dim=-1), levels, mask, torch.randn(2, 4)))
    assert torch.allclose(
        torch.cat([wide[..., :3], wide[..., 4:]], dim=-1), old(DenoiserInput(z, levels, mask)), atol=1e-6
    )
    assert not wide[..., 3].any()


def test_a_conditional_model_continues_from_one_of_the_same_properties(conditional, make_trainer):
    old = load_checkpoint(conditional)
    trainer = make_trainer(conditional, {"conditioning.properties": old.config.conditioning.properties})
    assert torch.equal(trainer.network.network.embed.weight, old.denoiser.network.embed.weight)


@pytest.mark.parametrize(
    ("before", "changes", "sentence"),
    [
        ({"diffusion.size_mode": "dummy"}, {}, "was trained with diffusion.size_mode=dummy, not histogram."),
        (TWO, {}, "was trained with conditioning.properties alpha, mu, not none."),
        (TWO, {"conditioning.properties": ["mu"]}, "was trained with conditioning.properties alpha, mu, not mu."),
        (TWO, {**TWO, "conditioning.half": "second"}, "saw the labels of other molecules (conditioning.half=all, data"),
        (
            {**TWO, "conditioning.half": "second"},
            {**TWO, "conditioning.half": "second", "data.split_seed": 1},
            "saw the labels of other molecules (conditioning.half=second, data.split_seed=0), perhaps those",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(make_conditional, make_trainer, before, changes, sentence):
    folder = make_conditional({"conditioning.properties": [], **before}, name="old")
    with pytest.raises(CheckpointError) as error:
        make_trainer(folder, changes)
    assert str(error.value).startswith("training.initial=old ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_other_elements_are_refused_as_before(make_checkpoint, make_config, statistics):
    config = make_config({**LEVELS, "training.initial": str(make_checkpoint())})
    with pytest.raises(CheckpointError, match="knows the elements C, O, but the data have C, N, O"):
        Trainer.create(config, replace(statistics, atom_numbers=(6, 7, 8)), ALONE)
