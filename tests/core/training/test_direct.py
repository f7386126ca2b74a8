"""Learning the clean molecule, and learning with an earlier estimate."""

from dataclasses import replace

import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import TrainingBatches
from ead_core.diffusion.parametrisation import LEAST_SIGNAL, predicts_noise
from ead_core.errors import CheckpointError, ConfigError
from ead_core.networks.inputs import DenoiserInput
from ead_core.training.fit import fit
from ead_core.training.objective import TrainingStep
from ead_core.training.objectives import build_objective
from ead_core.training.parallel import Workers
from ead_core.training.progress import PROGRESS, steps_done
from ead_core.training.trainer import Trainer

ALONE = Workers(0, 1, torch.device("cpu"))
DIRECT = {
    "training.objective": "direct",
    "network.self_conditioning": True,
    "diffusion.parametrisation": "preconditioned",
}


class Remembers(torch.nn.Module):
    """A network that notes what it is given and answers with a fixed tensor."""

    def __init__(self, answer, denoiser):
        super().__init__()
        self.answer, self.network, self.seen = answer, denoiser.network, []

    def forward(self, inputs):
        self.seen.append(inputs)
        return self.answer[: len(inputs.z), : inputs.z.shape[1]]


@pytest.fixture
def make_losses(make_config, molecules, statistics):
    """Losses of the first batch with a step's seed, and what the network was given."""

    def make(changes, seed, rows=(0, 1, 2, 3)):
        config = make_config(changes)
        objective = build_objective(config, statistics)
        batch = TrainingBatches(molecules, objective.atom_types, 4, 0).gather(range(4))
        generator = torch.Generator().manual_seed(3)
        model = Remembers(torch.randn(4, 6, 6, generator=generator), objective.network())
        step = TrainingStep(model, model, {}, batch, torch.tensor(rows), torch.Generator().manual_seed(seed))
        return objective.losses(step)[0], model.seen

    return make


def test_in_half_of_the_steps_the_network_is_given_its_own_prediction(make_losses):
    calls = []
    for seed in range(40):
        _, seen = make_losses(DIRECT, seed)
        calls.append(len(seen))
        first, last = seen[0].estimate, seen[-1].estimate
        assert first is None if len(seen) == 2 else not last.any()
        if len(seen) == 2:
            assert last.any()
            assert not last.requires_grad
            assert float(last[..., :3].sum(1).abs().max()) < 1e-3
    assert 10 <= calls.count(2) <= 30


def test_without_self_conditioning_nothing_is_drawn_for_it(make_losses):
    told, plain = (make_losses({"network.self_conditioning": told}, 5)[1] for told in (True, False))
    assert len(plain) == 1
    assert plain[0].estimate is None
    assert torch.equal(told[0].z, plain[0].z)


def test_the_error_is_that_of_the_clean_molecule(make_losses, make_config, molecules, statistics):
    """A network whose answer is the molecule itself, up to a translation, has nothing to learn."""
    config = make_config({**DIRECT, "diffusion.parametrisation": "x0", "diffusion.precision": 0.01})
    objective = build_objective(config, statistics)
    batch = TrainingBatches(molecules, objective.atom_types, 4, 0).gather(range(4))
    truth = batch.state(objective.atom_types)
    shift = torch.tensor([1.0, -2, 3, 0, 0, 0]) * batch.mask[..., None]
    losses = []
    for answer in (truth, truth + shift, truth + torch.randn_like(truth)):
        model = Remembers(answer, objective.network())
        generator = torch.Generator().manual_seed(1)
        step = TrainingStep(model, model, {}, batch, torch.arange(4), generator)
        losses.append(objective.losses(step)[0])
    assert float(losses[0].max()) < 1e-3
    assert float(losses[1].max()) < 1e-3
    assert float(losses[2].min()) > 0.01


def test_a_worker_computes_its_part_of_the_batch(make_losses):
    for seed in (2, 3, 4, 5):
        whole, _ = make_losses(DIRECT, seed)
        part, _ = make_losses(DIRECT, seed, rows=(0, 1))
        assert torch.allclose(part, whole[:2], atol=1e-5)


@pytest.mark.parametrize(
    "changes", [DIRECT, {**DIRECT, "training.fragments": 0.5}, {"network.self_conditioning": True}]
)
def test_it_is_trained_resumed_to_the_bit_and_loaded(changes, make_config, molecules, statistics, tmp_path):
    changes = {**changes, "training.steps": 8, "training.max_seconds": 1e-9}
    straight = fit(make_config({**changes, "training.max_seconds": None}), molecules, statistics, tmp_path / "straight")
    broken = fit(make_config(changes), molecules, statistics, tmp_path / "broken")
    assert steps_done(broken) < 8
    fit(make_config({**changes, "training.max_seconds": None}), molecules, statistics, broken)
    assert (straight / PROGRESS).stat().st_size == (broken / PROGRESS).stat().st_size
    ours, theirs = (load_checkpoint(folder) for folder in (straight, broken))
    assert ours.fingerprint() == theirs.fingerprint()
    assert ours.denoiser.self_conditioning


@pytest.mark.parametrize("kind", ["egnn_rbf", "egnn_vector"])
def test_it_starts_as_the_clean_molecule_of_a_model_of_noise(kind, make_checkpoint, make_config, statistics):
    """From α = 0.2 on its noise is that of the old model, whatever estimate it is given; below it x̂ is bounded."""
    common = {"network.kind": kind, "diffusion.steps": 20, "diffusion.precision": 1e-4}
    folder = make_checkpoint(common)
    old, config = load_checkpoint(folder), make_config({**DIRECT, **common, "training.initial": str(folder)})
    new = predicts_noise(Trainer.create(config, statistics, ALONE).network, "preconditioned", old.schedule)
    steps = torch.arange(21)
    inputs = DenoiserInput(torch.randn(21, 5, 6), steps[:, None].expand(21, 5), torch.ones(21, 5, dtype=torch.bool))
    with torch.no_grad():
        before = old.noise_predictor("fp32")(inputs)
        after = new(replace(inputs, estimate=torch.randn(21, 5, 6)))
    alpha, sigma = (c(steps)[:, None, None] for c in (old.schedule.alpha, old.schedule.sigma))
    defined = alpha[:, 0, 0] >= LEAST_SIGNAL
    assert 0 < defined.sum() < 21
    assert torch.allclose(before[defined], after[defined], atol=1e-6)
    ours, theirs = ((inputs.z - sigma * eps) / alpha for eps in (after, before))
    assert torch.allclose(ours[~defined], (alpha / LEAST_SIGNAL * theirs)[~defined], rtol=1e-3, atol=1e-4)


def test_other_changes_of_meaning_are_refused(make_checkpoint, make_config, statistics):
    folder = make_checkpoint({"network.self_conditioning": True})
    back = {"diffusion.steps": 20, "diffusion.precision": 0.01, "training.initial": str(folder)}
    with pytest.raises(CheckpointError, match=r"was trained with network\.self_conditioning=True, not False\.$"):
        Trainer.create(make_config(back), statistics, ALONE)
    told = {**back, "network.self_conditioning": True, "diffusion.parametrisation": "x0"}
    with pytest.raises(CheckpointError, match=r"was trained with diffusion\.parametrisation=epsilon, not x0\.$"):
        Trainer.create(make_config(told), statistics, ALONE)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network.self_conditioning": False}, "training.objective=direct needs network.self_conditioning=true."),
        ({"diffusion.parametrisation": "epsilon"}, "needs another diffusion.parametrisation than epsilon"),
    ],
)
def test_what_it_needs_is_said(changes, sentence, make_config):
    with pytest.raises(ConfigError) as error:
        make_config({**DIRECT, **changes})
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
