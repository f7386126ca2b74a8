"""What every member of a table keeps, whatever it is: a new one is tested by being listed."""

from itertools import pairwise
from typing import get_args

import pytest
import torch

from ead_core.checkpoints.checkpoint import NETWORKS
from ead_core.config import DiffusionConfig, NetworkConfig, SamplerConfig, TrainingConfig
from ead_core.data.tensors import centre_state, size_mask
from ead_core.diffusion.corrector import CHANNELS, CORRECTIONS, Corrector
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.grid import POWERS, sampling_grid
from ead_core.diffusion.parametrisation import PARAMETRISATIONS, predicts_noise
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.policies import POLICIES, Run
from ead_core.diffusion.policy import PolicyState
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.schedule import SCHEDULES, NoiseSchedule
from ead_core.diffusion.velocity import VELOCITIES
from ead_core.networks.backbones import BACKBONES, build_backbone
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.symmetrised import SYMMETRISATIONS
from ead_core.sampling.sampler import step, trajectory
from ead_core.sampling.state import initial_state, join
from ead_core.training.objectives import OBJECTIVES

TABLES = [
    (NetworkConfig, "kind", BACKBONES),
    (NetworkConfig, "symmetrise", SYMMETRISATIONS),
    (DiffusionConfig, "schedule", SCHEDULES),
    (DiffusionConfig, "gauge", GAUGES),
    (DiffusionConfig, "parametrisation", PARAMETRISATIONS),
    (SamplerConfig, "policy", POLICIES),
    (SamplerConfig, "solver", SOLVERS),
    (SamplerConfig, "pause_mode", PAUSES),
    (SamplerConfig, "velocity", VELOCITIES),
    (SamplerConfig, "corrector_mode", CORRECTIONS),
    (SamplerConfig, "grid", POWERS),
    (TrainingConfig, "objective", OBJECTIVES),
    (TrainingConfig, "objective", NETWORKS),
]


@pytest.mark.parametrize(("section", "key", "table"), TABLES, ids=lambda part: part if isinstance(part, str) else "")
def test_the_recipe_accepts_what_the_table_has(section, key, table):
    assert get_args(section.model_fields[key].annotation) == tuple(table)


LAYERS = [
    *((kind, "none", told) for kind, backbone in BACKBONES.items() for told in {False, backbone.takes_estimate}),
    *(("dit", frames, False) for frames in SYMMETRISATIONS if frames != "none"),
    *(("egnn", "learned", False), ("egnn_vector", "learned", True)),
]


@pytest.mark.parametrize(("kind", "symmetrise", "told"), LAYERS)
def test_a_backbone_tells_its_layers(kind, symmetrise, told):
    """The first columns in are the features and the last the context; the first rows out are the features."""
    sizes = {"hidden_features": 24, "layers": 2, "edge_features": 24, "vectors": 2, "frame_features": 24}
    config = NetworkConfig(kind=kind, symmetrise=symmetrise, self_conditioning=told, **sizes)
    backbone = build_backbone(config, features=5, context=4)
    outer = {id(p) for layer in (backbone.input_layer, backbone.output_layer) for p in layer.parameters()}
    hidden = backbone.hidden_matrices()
    assert hidden
    assert all(p.ndim == 2 and id(p) not in outer for p in hidden)
    zeros = {id(p) for p in backbone.zero_at_start()}
    assert all((not p.any()) == (id(p) in zeros) for p in backbone.parameters() if p.ndim == 2)
    x, time, mask = torch.randn(1, 3, 3), torch.rand(1, 3), torch.ones(1, 3, dtype=torch.bool)
    draws = torch.rand(1, backbone.num_draws) if backbone.num_draws else None
    with torch.no_grad():
        backbone.input_layer.weight[:, :5] = backbone.input_layer.weight[:, -4:] = 0
        plain, other = (backbone(x, torch.randn(1, 3, 5), time, mask, torch.randn(1, 4), draws)[1] for _ in range(2))
        assert plain.shape == (1, 3, 5)
        assert torch.equal(plain, other)
        backbone.output_layer.weight[:5] = backbone.output_layer.bias[:5] = 0
        assert not backbone(x, torch.randn(1, 3, 5), time, mask, torch.randn(1, 4), draws)[1].any()
    assert backbone.floats_per_pair > 0
    assert backbone.floats_per_atom > 0


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_keeps_to_what_it_says_of_itself(kind, make_process):
    """It is synchronous above its branch, and no molecule takes longer than its moves and its pauses."""
    atoms, grid = 6, sampling_grid(1000, 30)
    config = SamplerConfig(policy=kind, async_ratio=0.4, max_pauses=2, group_size=2)
    policy = POLICIES[kind].build(config, Run(grid, 200, atoms))
    process = make_process(policy, steps=30)
    ids = torch.arange(3)
    state = initial_state(torch.full_like(ids, 3), ids, size_mask([atoms] * 3), 8, process, torch.float64)
    states = list(trajectory(state, process))
    assert len(states) <= 30 + policy.most_pauses(atoms)
    for now in states:
        if bool((now.grid_index > policy.branch_index(30)).any()):
            assert (now.grid_index == now.grid_index[0, 0]).all()
    assert policy.label().split(" ")[0] == kind
    clean = torch.zeros(1, 4, dtype=torch.long)
    done = PolicyState(ids[:1], ids[:1], clean, clean == 0, torch.zeros(1, 4, 5), clean, clean, ids[:1], grid)
    assert not policy.advance(done).any()


@pytest.mark.parametrize("policy", ["synchronous", "adaptive"])
@pytest.mark.parametrize("kind", SOLVERS)
def test_a_solver_brings_every_molecule_down_alone_and_in_company(kind, policy, make_process):
    """Clean atoms stay, the centre does, and molecules at other stages in the same call change nothing."""
    chosen = POLICIES[policy].build(SamplerConfig(async_ratio=0.4, max_pauses=2), Run(sampling_grid(1000, 30), 200, 6))
    process = make_process(chosen, steps=30, solver=kind)
    mask, alone = size_mask([6]), []
    early, late = (initial_state(ids, ids, mask, 8, process, torch.float64) for ids in torch.tensor([[3], [4]]))
    for state in (early, late):
        states = [state, *trajectory(state, process)]
        for before, now in pairwise(states):
            clean = before.grid_index == 0
            assert torch.equal(now.z[clean][:, 3:], before.z[clean][:, 3:])
            assert float(now.z[..., :3].sum(1).abs().max()) < 1e-9
        alone.append(states[-1].z)
    for _ in range(6):
        early = step(early, process)
    *_, together = trajectory(join([early, late]), process)
    assert torch.allclose(together.z, torch.cat(alone), atol=1e-9)


@pytest.mark.parametrize("kind", CORRECTIONS)
@pytest.mark.parametrize("policy", ["synchronous", "adaptive"])
def test_a_correction_keeps_every_molecule_where_it_is(kind, policy, make_process):
    """Rounds change no level, keep the centre, and leave out atoms that are clean; all of them are made."""
    grid = sampling_grid(1000, 30)
    chosen = POLICIES[policy].build(SamplerConfig(async_ratio=0.4, max_pauses=2), Run(grid, 200, 6))
    process = make_process(chosen, steps=30, corrector=Corrector(1.0, CORRECTIONS[kind], (0.0, 0.5), CHANNELS["all"]))
    ids = torch.arange(1)
    before = initial_state(ids, ids, size_mask([6]), 8, process, torch.float64)
    for now in trajectory(before, process):
        assert float(now.z[..., :3].sum(1).abs().max()) < 1e-9
        if int(now.rounds) > int(before.rounds):
            assert torch.equal(now.grid_index, before.grid_index)
            clean = before.grid_index == 0
            assert torch.equal(now.z[clean][:, 3:], before.z[clean][:, 3:])
        before = now
    assert int(before.rounds) == int(process.rounds.sum()) == 15


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_goes_from_molecules_to_noise(kind):
    schedule = NoiseSchedule(100, 1e-4, SCHEDULES[kind])
    alpha, sigma = schedule.alpha(torch.arange(101)), schedule.sigma(torch.arange(101))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(101, dtype=torch.float64))
    assert (alpha.diff() < 0).all()
    assert float(sigma[0]) ** 2 == pytest.approx(1e-4, rel=0.1)
    assert 0 < float(alpha[-1]) ** 2 < 1e-3


@pytest.mark.parametrize("kind", GAUGES)
def test_a_gauge_projects_once(kind):
    """Projecting again changes nothing, and noise of no spread at the same levels leaves a step at its mean."""
    gauge, mask = GAUGES[kind](NoiseSchedule(1000)), size_mask([6, 4])
    levels = torch.randint(1, 1001, (2, 6))
    for project in (gauge.project_state, gauge.project_noise):
        once = project(gauge.noise(torch.randn(2, 6, 8, dtype=torch.float64), mask), levels, mask)
        assert torch.allclose(project(once, levels, mask), once, atol=1e-10)
        assert not once[1, 4:].any()
    still = torch.zeros(2, 6, 1, dtype=torch.float64)

    def draw(stream, shape):
        return torch.randn(2, *shape, dtype=torch.float64)

    assert torch.equal(gauge.noise_step(once, still, draw, levels, levels, mask), once)


LEVELS = torch.tensor([[0, 1, 250, 700, 1000]])
SCHEDULE = NoiseSchedule(1000)
ALPHA, SIGMA = SCHEDULE.alpha(LEVELS)[..., None], SCHEDULE.sigma(LEVELS)[..., None]


@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_the_conversions_of_a_parametrisation_are_inverse(kind):
    form = PARAMETRISATIONS[kind]
    z, eps = torch.randn(2, 1, 5, 8, dtype=torch.float64)
    output = form.from_noise(eps, z, ALPHA, SIGMA)
    assert torch.allclose(form.to_noise(output, z, ALPHA, SIGMA), eps, atol=1e-9)


@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_the_weight_turns_the_error_of_the_noise_into_that_of_the_output(kind):
    form = PARAMETRISATIONS[kind]
    z, eps, wrong = torch.randn(3, 1, 5, 8, dtype=torch.float64)
    error = form.from_noise(eps, z, ALPHA, SIGMA) - form.from_noise(wrong, z, ALPHA, SIGMA)
    assert torch.allclose(error**2, form.weight(ALPHA, SIGMA) * (eps - wrong) ** 2, rtol=1e-6)


@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_equal_denoisers_give_equal_molecules(kind, make_process, denoiser):
    def converted(inputs):
        alpha, sigma = (c(inputs.levels)[..., None] for c in (SCHEDULE.alpha, SCHEDULE.sigma))
        return PARAMETRISATIONS[kind].from_noise(denoiser(inputs), inputs.z, alpha, sigma)

    ends = []
    for function in (denoiser, predicts_noise(converted, kind, SCHEDULE)):
        process = make_process(steps=20, function=function)
        ids = torch.arange(2)
        state = initial_state(ids, ids, size_mask([6, 4]), 8, process, torch.float64)
        ends.append(list(trajectory(state, process))[-1].z)
    assert torch.allclose(*ends, atol=1e-8)


NEEDS = {  # what an objective demands of the rest of a recipe
    "predict": {"conditioning.properties": ["atoms_C"]},
    "direct": {"network.self_conditioning": True, "diffusion.parametrisation": "preconditioned"},
    "distil": {
        "training.initial": "qm9-small",
        "sampler.policy": "synchronous",
        "sampler.solver": "rtk_renoise",
        "sampler.steps": 4,
    },
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_objective_trains_the_network_that_its_checkpoint_holds(kind, make_config, statistics):
    config = make_config({"training.objective": kind, **NEEDS.get(kind, {})})
    objective = OBJECTIVES[kind](config, statistics)
    trained, stored = objective.network(), NETWORKS[kind](config, statistics)
    shapes = [{name: weight.shape for name, weight in net.state_dict().items()} for net in (trained, stored)]
    assert shapes[0] == shapes[1]
    assert type(trained) is type(stored)
    z = centre_state(torch.randn(1, 4, 6), size_mask([4]))
    assert trained(DenoiserInput(z, torch.zeros(1, 4, dtype=torch.long), size_mask([4]))).isfinite().all()
