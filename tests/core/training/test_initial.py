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
from ead_core.training.initial import initial_weights
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

ALONE = Workers(0, 1, torch.device("cpu"))
LEVELS = {"diffusion.steps": 20, "diffusion.precision": 0.01}
TWO = {"conditioning.properties": ["alpha", "mu"]}
DISTIL = {"training.objective": "distil", "sampler.solver": "rtk_renoise", "sampler.steps": 4}


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


@pytest.mark.parametrize("told", [False, True], ids=["plain", "self-conditioned"])
@pytest.mark.parametrize("kind", BACKBONES)
def test_new_elements_are_added_and_what_is_known_stays(make_checkpoint, make_config, statistics, kind, told):
    """N comes between C and O. Without its direction, the first prediction is that of the old model."""
    changes = {"network.kind": kind, "network.self_conditioning": told}
    if told and not BACKBONES[kind].takes_estimate:
        pytest.skip("takes no estimate")
    old = load_checkpoint(folder := make_checkpoint(changes)).denoiser
    config = make_config({**LEVELS, **changes, "training.initial": str(folder)})
    new = Trainer.create(config, replace(statistics, atom_numbers=(6, 7, 8)), ALONE).network
    column, row = new.network.input_layer.weight[:, 1], new.network.output_layer.weight[1, : len(new_column(new))]
    assert torch.allclose(column / column.norm(), row / row.norm(), atol=1e-6)
    assert torch.allclose(column.norm(), old.network.input_layer.weight[:, :2].norm(dim=0).mean())
    levels, mask = torch.randint(0, 21, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    z, estimate = torch.randn(2, 5, 6), torch.randn(2, 5, 6) if told else None
    wide, wider = (None if of is None else with_channel(of, torch.randn(2, 5, 1)) for of in (z, estimate))
    with torch.no_grad():
        new_column(new).zero_()
    found = new(DenoiserInput(wide, levels, mask, estimate=wider))
    kept = torch.cat([found[..., :4], found[..., 5:]], dim=-1)
    assert torch.allclose(kept, old(DenoiserInput(z, levels, mask, estimate=estimate)), atol=1e-6)


def new_column(denoiser):
    """Of the first layer, for the second element."""
    return denoiser.network.input_layer.weight[:, 1]


def with_channel(state, channel):
    """A state [B, N, 3 + F] with a further channel behind the first element's."""
    return torch.cat([state[..., :4], channel, state[..., 4:]], dim=-1)


def test_the_directions_of_new_elements_follow_from_the_seed(make_checkpoint, make_config, statistics):
    folder = make_checkpoint()
    columns = {}
    for seed in (0, 0, 1):
        config = make_config({**LEVELS, "training.initial": str(folder), "training.seed": seed})
        weights = initial_weights(config, replace(statistics, atom_numbers=(6, 7, 8, 9)))
        columns.setdefault(seed, []).append(weights["network.embed.weight"])
    assert torch.equal(*columns[0])
    assert not torch.equal(columns[0][0][:, 1], columns[1][0][:, 1])
    assert not torch.equal(columns[0][0][:, 1], columns[0][0][:, 3])  # F is another than N
    assert torch.equal(columns[0][0][:, 0], columns[1][0][:, 0])  # C was known


def test_every_element_that_stays_keeps_its_weights_and_the_others_go(make_checkpoint, make_config, statistics):
    """From C, O to O, S: the columns of O and of the nuclear charge are found again."""
    folder = make_checkpoint()
    old = load_checkpoint(folder).denoiser.network
    config = make_config({**LEVELS, "training.initial": str(folder)})
    new = Trainer.create(config, replace(statistics, atom_numbers=(8, 16)), ALONE).network.network
    assert torch.equal(new.embed.weight[:, [0, 2]], old.embed.weight[:, [1, 2]])
    assert torch.equal(new.embed.weight[:, 3:], old.embed.weight[:, 3:])
    assert torch.equal(new.readout.weight[[0, 2]], old.readout.weight[[1, 2]])


@pytest.mark.parametrize(
    ("before", "changes", "sentence"),
    [
        (TWO, TWO, "is asked for properties of molecules of C, O, but the data have C, N, O."),
        ({}, DISTIL, "knows the elements C, O, but the data have C, N, O, which it cannot teach."),
    ],
    ids=["conditional", "teacher"],
)
def test_other_elements_are_refused_where_both_must_speak_of_the_same(
    make_conditional, make_config, statistics, before, changes, sentence
):
    folder = make_conditional({"conditioning.properties": [], **before}, name="old")
    config = make_config({**LEVELS, **changes, "training.initial": str(folder)})
    with pytest.raises(CheckpointError, match=f"training.initial=old {sentence}"):
        initial_weights(config, replace(statistics, atom_numbers=(6, 7, 8)))
