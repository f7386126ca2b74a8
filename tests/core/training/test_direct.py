"""Learning the clean molecule, and learning with an earlier estimate."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import TrainingBatches
from ead_core.diffusion.parametrisation import LEAST_SIGNAL, predicts_noise
from ead_core.errors import CheckpointError, ConfigError, TrainingError
from ead_core.networks.inputs import DenoiserInput
from ead_core.training.fit import fit
from ead_core.training.objective import TrainingStep
from ead_core.training.objectives import build_objective
from ead_core.training.parallel import Workers
from ead_core.training.progress import PROGRESS, load_progress, steps_done
from ead_core.training.trainer import Trainer

ALONE = Workers(0, 1, torch.device("cpu"))
DIRECT = {
    "training.objective": "direct",
    "network.self_conditioning": True,
    "diffusion.parametrisation": "preconditioned",
}

BUFFER = {**DIRECT, "training.xbar": "buffer"}


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
    "changes", [DIRECT, {**DIRECT, "training.fragments": 0.5}, {"network.self_conditioning": True}, BUFFER]
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


def test_the_buffer_holds_the_last_prediction_of_every_molecule(make_config, molecules, statistics, tmp_path):
    """An epoch has six steps: after three, half of the molecules have an estimate, which is not the molecule itself."""
    folder = fit(make_config({**BUFFER, "training.steps": 3}), molecules, statistics, tmp_path / "run")
    kept = load_file(folder / PROGRESS)["memory.estimates"]
    trainer = Trainer.create(make_config(BUFFER), statistics, ALONE)
    batches, _ = trainer.objective.examples(molecules, {})
    seen = torch.cat([batches.batch(step).examples for step in range(3)])
    assert kept.flatten(1).any(dim=1).nonzero()[:, 0].tolist() == sorted(seen.tolist())
    truth = batches.gather(seen.tolist()).state(trainer.atom_types)
    assert ((kept[seen, : truth.shape[1]] - truth).abs().amax(dim=(1, 2)) > 1e-3).all()
    assert load_progress(folder, trainer, statistics)
    assert torch.equal(trainer.objective.memory["estimates"], kept)


def test_the_buffer_gives_what_it_holds(make_config, molecules, statistics):
    objective = build_objective(make_config(BUFFER), statistics)
    batches, _ = objective.examples(molecules, {})
    batch, kept = batches.batch(0), objective.memory["estimates"]
    kept.normal_()
    before = kept.clone()
    model = Remembers(torch.randn(4, 6, 6), objective.network())
    objective.losses(TrainingStep(model, model, {}, batch, torch.tensor([2, 0]), torch.Generator().manual_seed(0)))
    mine, width = batch.examples[[2, 0]], batch.mask.shape[1]
    assert torch.equal(model.seen[0].estimate, before[mine, :width])
    others = ~torch.isin(torch.arange(len(kept)), mine)
    assert torch.equal(kept[others], before[others])
    assert not torch.isclose(kept[mine], before[mine]).all(dim=(1, 2)).any()


def test_the_buffer_is_of_one_process_and_one_frame(make_config, molecules, statistics, monkeypatch):
    monkeypatch.setattr(Workers, "joined", lambda: Workers(0, 2, torch.device("cpu")))
    with pytest.raises(TrainingError, match=r"several share the training; use training\.threads=1 and one worker"):
        build_objective(make_config(BUFFER), statistics).examples(molecules, {})
    with pytest.raises(ConfigError, match=r"training\.fragments must be 0 with training\.xbar=buffer"):
        make_config({**BUFFER, "training.fragments": 0.2})


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
