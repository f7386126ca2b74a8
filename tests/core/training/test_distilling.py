"""Learning from a teacher to make molecules in few calls, by matching the laws of both."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import compute_statistics
from ead_core.data.labels import labels_of
from ead_core.errors import CheckpointError, ConfigError
from ead_core.networks.denoiser import Denoiser
from ead_core.sampling.generation import sample
from ead_core.training.fit import fit
from ead_core.training.objective import TrainingStep
from ead_core.training.objectives import build_objective
from ead_core.training.progress import PROGRESS, steps_done

STEPS, WIDTH = 3, 0.5
SAMPLER = {"sampler.policy": "synchronous", "sampler.solver": "rtk_renoise", "sampler.steps": STEPS}
DISTIL = {"training.objective": "distil", "diffusion.steps": 20, "diffusion.precision": 0.01, **SAMPLER}
TOLD = {"network.self_conditioning": True, "diffusion.parametrisation": "preconditioned"}


@pytest.fixture
def make_objective(make_config, molecules, statistics, untrained):
    """An objective with its first batch."""

    def make(changes=()):
        config = make_config({**DISTIL, "training.initial": str(untrained), **dict(changes)})
        objective = build_objective(config, statistics)
        return objective, TrainingBatches(molecules, objective.atom_types, 4, 0).gather(range(4))

    return make


def step_of(network, batch, seed=0, rows=(0, 1, 2, 3)):
    return TrainingStep(network, network, {}, batch, torch.tensor(rows), torch.Generator().manual_seed(seed))


class Gaussian(Denoiser):
    """Makes Gaussian molecules of a width that it learns, from noise of width 1."""

    self_conditioning = False

    def __init__(self, schedule, width):
        nn.Module.__init__(self)
        self.context = 0
        self.network = SimpleNamespace(num_draws=0, floats_per_pair=1, floats_per_atom=1)
        self.schedule, self.width = schedule, nn.Parameter(torch.tensor(width))

    def forward(self, inputs):
        alpha, sigma = (c(inputs.levels)[..., None].float() for c in (self.schedule.alpha, self.schedule.sigma))
        below = (alpha**2 * self.width.detach() ** 2 + sigma**2).sqrt()
        return (inputs.z - alpha * self.width * inputs.z / below) / sigma


def mean_noise(schedule, width):
    """ε̂ of the mean of Gaussian data."""

    def predict(inputs):
        alpha, sigma = (c(inputs.levels)[..., None].float() for c in (schedule.alpha, schedule.sigma))
        return sigma * inputs.z / (alpha**2 * width**2 + sigma**2)

    return predict


@pytest.mark.parametrize("width", [0.2, 0.4, WIDTH, 0.6, 1.0])
def test_a_student_is_driven_to_the_width_of_its_teacher(make_objective, width, untrained):
    """The critic is exact, so that at the teacher's width there is nothing to learn."""
    objective, batch = make_objective({"training.anchor": 0})
    schedule, judged = load_checkpoint(untrained).schedule, []
    vars(objective)["_teacher"] = mean_noise(schedule, WIDTH)
    vars(objective)["_critic"] = SimpleNamespace(
        denoiser=mean_noise(schedule, width), learn=lambda noised, size: judged.append(noised)
    )
    student = Gaussian(schedule, width)
    objective.losses(step_of(student, batch))[0].sum().backward()
    if width == WIDTH:
        assert float(student.width.grad) == 0
    else:
        assert (float(student.width.grad) > 0) == (width > WIDTH)
    assert len(judged) == objective.config.training.critic_updates
    levels = [noised.corrupted.levels.view(STEPS, 4, -1) for noised in judged]
    assert not torch.equal(*levels)
    for drawn in levels:
        assert (drawn == drawn[..., :1]).all()
        rungs = [0, 7, 13, 20]
        for call, (low, high) in enumerate(zip(rungs[-2::-1], rungs[:0:-1], strict=True)):
            assert (low <= drawn[call]).all()
            assert (drawn[call] < high).all()


def test_at_first_the_critic_is_the_teacher_and_only_the_anchor_is_learnt(make_objective, untrained):
    student = load_checkpoint(untrained).denoiser
    losses = {}
    for weight in (0.0, 0.1, 0.2):
        objective, batch = make_objective({"training.anchor": weight})
        losses[weight] = objective.losses(step_of(student, batch))[0]
    assert not losses[0.0].any()
    assert losses[0.1].all()
    assert torch.allclose(losses[0.2], 2 * losses[0.1])


def test_the_critic_learns_what_the_student_makes(make_objective, untrained):
    """Then it no longer agrees with the teacher, and there is something to match."""
    student = load_checkpoint(untrained).denoiser
    objective, batch = make_objective({"training.anchor": 0, "training.critic_updates": 3})
    first, second = (objective.losses(step_of(student, batch, seed))[0] for seed in (0, 1))
    assert not first.any()
    assert second.all()
    assert objective.memory.keys() >= {f"critic.{name}" for name, _ in student.named_parameters()}


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_a_cooled_teacher_is_a_narrower_one(make_objective, temperature, untrained):
    objective, batch = make_objective({"training.anchor": 0, "training.teacher_temperature": temperature})
    schedule = load_checkpoint(untrained).schedule
    vars(objective)["_teacher"] = mean_noise(schedule, WIDTH)
    vars(objective)["_critic"] = SimpleNamespace(denoiser=mean_noise(schedule, WIDTH), learn=lambda *_: None)
    student = Gaussian(schedule, WIDTH)
    objective.losses(step_of(student, batch))[0].sum().backward()
    assert (float(student.width.grad) > 0) == (temperature < 1)


def test_a_worker_computes_its_part_of_the_batch(make_objective, untrained):
    student = load_checkpoint(untrained).denoiser
    parts = []
    for rows in ((0, 1, 2, 3), (1, 3)):
        objective, batch = make_objective()
        vars(objective)["_teacher"] = lambda inputs: torch.zeros_like(inputs.z)
        parts.append(objective.losses(step_of(student, batch, rows=rows))[0])
    assert torch.allclose(parts[0][[1, 3]], parts[1], rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, {**TOLD, "training.optimizer": "muon", "sampler.start": 0.6}])
def test_it_is_trained_resumed_to_the_bit_loaded_and_sampled(
    changes, make_config, molecules, statistics, untrained, tmp_path
):
    changes = {**DISTIL, **changes, "training.initial": str(untrained), "training.steps": 3}
    straight = fit(make_config(changes), molecules, statistics, tmp_path / "straight")
    broken = fit(make_config({**changes, "training.max_seconds": 1e-9}), molecules, statistics, tmp_path / "broken")
    assert steps_done(broken) < 3
    fit(make_config(changes), molecules, statistics, broken)
    ours, theirs = (load_file(folder / PROGRESS) for folder in (straight, broken))
    assert ours.keys() == theirs.keys()
    assert any(key.startswith("memory.critic_optimizer.") for key in ours)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert sample(load_checkpoint(straight), 2, sizes=[5]).properties["nfe"].tolist() == [STEPS + 1] * 2


def test_what_is_asked_for_is_told_and_frames_are_drawn(make_config, make_conditional, labelled, tmp_path):
    """Of a conditional teacher with random frames."""
    network = {"network.kind": "dit", "network.symmetrise": "haar", "conditioning.properties": ["alpha", "atoms_O"]}
    teacher = make_conditional(network)
    config = make_config({**DISTIL, **network, "training.initial": str(teacher), "training.steps": 2})
    labels = labels_of(labelled, config.conditioning, 0)
    statistics = compute_statistics(labelled, name="chains", sha256="0" * 64, labels=labels)
    student = load_checkpoint(fit(config, labelled, statistics, tmp_path / "student"))
    assert sample(student, 2, targets={"alpha": 25.0}).properties["nfe"].tolist() == [STEPS + 1] * 2


def test_a_teacher_of_another_network_is_refused(make_objective, make_checkpoint):
    other = make_checkpoint({"network.hidden_features": 16})
    objective, _ = make_objective({"training.initial": str(other)})
    with pytest.raises(CheckpointError, match=r"was trained with network\.hidden_features=16, not 8\.$"):
        objective.at_start()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training.initial": None}, "training.objective=distil needs training.initial, which is the teacher."),
        ({"sampler.solver": "ancestral"}, "training.objective=distil needs sampler.policy=synchronous, sampler.solver"),
        ({"sampler.policy": "adaptive"}, "training.objective=distil needs sampler.policy=synchronous, sampler.solver"),
        ({"sampler.steps": None}, "and sampler.steps, the calls that the model is trained for."),
    ],
)
def test_what_it_needs_is_said(changes, sentence, make_config, statistics):
    with pytest.raises(ConfigError) as error:
        build_objective(make_config({**DISTIL, "training.initial": "qm9-small", **changes}), statistics)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
