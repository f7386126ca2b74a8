"""Beginning below T: exact for Gaussian data, fewer levels, and refused where nothing is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint, save_statistics
from ead_core.data.dataset import compute_statistics, file_sha256, split_indices
from ead_core.data.formats import write_molecules
from ead_core.data.tensors import size_mask
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.gaussian_start import GaussianStart
from ead_core.diffusion.policy import Synchronous
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.errors import CheckpointError, ConfigError
from ead_core.sampling.build import build_process
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.generation import sample
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state
from ead_core.training.moments import add_moments

MEAN, VARIANCE = 0.3, 0.25  # of types; coordinates have mean 0
SCHEDULE = NoiseSchedule(1000)


def exact(inputs):
    """ε̂ of Gaussian data with these moments."""
    alpha, sigma = (c(inputs.levels)[..., None] for c in (SCHEDULE.alpha, SCHEDULE.sigma))
    mean = torch.full((7,), MEAN, dtype=inputs.z.dtype) * (torch.arange(7) > 2)
    return sigma * (inputs.z - alpha * mean) / (alpha**2 * VARIANCE + sigma**2) * inputs.mask[..., None]


@pytest.mark.parametrize("frame", GAUGES)
@pytest.mark.parametrize("solver", ["ddim", "ancestral"])
def test_gaussian_data_may_begin_at_any_level(solver, frame):
    """Mean and variance at the end are those of the data: 300 molecules of 6 atoms, four standard errors."""
    grid = torch.arange(0, 401, 8)
    mean = torch.full((7, 7), MEAN, dtype=torch.float64) * (torch.arange(7) > 2)
    begin = GaussianStart.at(grid[-1], SCHEDULE, mean, torch.full((7, 7), VARIANCE, dtype=torch.float64))
    process = Process(exact, SCHEDULE, grid, Synchronous(), solver=SOLVERS[solver], frame=GAUGES[frame], start=begin)
    ids = torch.arange(300)
    state = initial_state(ids * 0, ids, size_mask([6] * 299 + [4]), 7, process, torch.float64)
    assert state.z[..., :3].sum(dim=1).abs().max() < 1e-9
    assert not state.z[-1, 4:].any()
    end = list(trajectory(state, process))[-1].z[:-1]
    assert float(end[..., 3:].mean()) == pytest.approx(MEAN, abs=4 * (VARIANCE / 7200) ** 0.5)
    assert float(end[..., 3:].var()) == pytest.approx(VARIANCE, abs=4 * VARIANCE * (2 / 7200) ** 0.5 + 0.005)
    assert float((end[..., :3] ** 2).mean()) * 6 / 5 == pytest.approx(VARIANCE, abs=4 * VARIANCE * (2 / 4500) ** 0.5)


@pytest.fixture
def model(make_checkpoint):
    return load_checkpoint(make_checkpoint())


def test_the_steps_are_spread_over_the_levels_that_are_left(model):
    made = sample(model, 2, start=0.5, policy="synchronous")
    assert made.properties["nfe"].tolist() == [11, 11]
    config = sampler_config(model, {"start": 0.5, "steps": 5, "policy": "synchronous"})
    assert build_process(model, config, 6).grid.tolist() == [0, 2, 4, 6, 8, 10]


def test_other_shares_of_levels_stay_shares_of_all(model):
    config = sampler_config(model, {"start": 0.5, "async_ratio": 0.3})
    assert build_process(model, config, 6).policy.start == 6  # levels 1 to 6 of 20


def test_all_policies_begin_there(model):
    for policy in ("synchronous", "manual", "adaptive", "random"):
        made = sample(model, 2, start=0.5, policy=policy, sizes=[4, 6])
        assert np.isfinite(made.positions).all()
        assert made.properties["nfe"].min() >= 11


def test_a_model_with_empty_slots_begins_there(make_checkpoint):
    model = load_checkpoint(make_checkpoint({"diffusion.size_mode": "dummy"}))
    start = prepare(model, Request(1, sampler_config(model, {"start": 0.5}))).process.start
    assert start.mean.shape == (7, 3 + model.atom_types.num_features)
    assert np.isfinite(sample(model, 2, start=0.5).positions).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"start": 0.5, "steps": 11}, r"sampler.steps must be at most the 10 levels up to sampler.start=0.5, not 11."),
        ({"start": 0.01}, "start: must be greater than or equal to 0.05"),
        ({"temperature": 0}, "temperature: must be greater than or equal to 0.01"),
        ({"temperature": 2}, "temperature: must be less than or equal to 1"),
        ({"temperature_width": 0.3}, "sampler.temperature_width has no effect with sampler.temperature=1"),
        ({"temperature": 0.5, "temperature_levels": (0.4, 0.2)}, "must be a lower and a higher share of T"),
        ({"corrector": -1}, "corrector: must be greater than or equal to 0"),
        ({"corrector_mode": "repeat"}, "sampler.corrector_mode has no effect with sampler.corrector=0"),
        ({"corrector": 1, "corrector_channels": "bonds"}, "must be 'all', 'coordinates' or 'types'"),
    ],
)
def test_what_cannot_be_is_one_sentence(model, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        sample(model, 1, **settings)


def test_a_fragment_keeps_its_frame(make_checkpoint):
    model = load_checkpoint(make_checkpoint({"training.fragments": 0.2}))
    fragment = Fragment(np.array([6, 8]), np.eye(2, 3))
    request = Request(1, sampler_config(model, {"start": 0.5}), sizes=(5,), fragment=fragment)
    with pytest.raises(ConfigError, match=r"sampler.start=0.5 is not for molecules around a fragment"):
        prepare(model, request)


@pytest.fixture
def old(make_checkpoint, molecules, tmp_path, monkeypatch):
    """A checkpoint of before, and the file of its molecules."""
    monkeypatch.chdir(tmp_path)
    write_molecules(molecules, tmp_path / "chains.npz")
    folder = make_checkpoint()
    train = molecules.select(split_indices(molecules).train)
    found = compute_statistics(train, name="chains.npz", sha256=file_sha256(tmp_path / "chains.npz"))
    save_statistics(folder, replace(found, moments={}))
    return folder, found


def test_a_checkpoint_of_before_says_what_it_lacks_and_gets_it(old):
    folder, found = old
    model = load_checkpoint(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigError, match=r"which checkpoint lacks; `ead moments checkpoint` adds them\."):
        sample(model, 1, start=0.5)
    assert add_moments(str(folder)) == folder
    assert load_checkpoint(folder).statistics == found
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"stats.json"}
    assert load_checkpoint(folder).fingerprint() == model.fingerprint()
    assert len(sample(load_checkpoint(folder), 1, start=0.5)) == 1


def test_other_molecules_than_those_of_training_are_refused(old, make_molecules, tmp_path):
    write_molecules(make_molecules((4, 5, 6) * 9), tmp_path / "other.npz")
    with pytest.raises(CheckpointError, match=r"does not hold the molecules that .* was trained with"):
        add_moments(str(old[0]), tmp_path / "other.npz")
