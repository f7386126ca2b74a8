"""Molecules are noised to the level that is said, and denoised with the sampler itself; the benchmark, too."""

import numpy as np
import pytest
import torch

from benchmarks.reentry import reenter, row
from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.grid import sampling_grid
from ead_core.errors import ConfigError, DataError
from ead_core.sampling.generation import sample
from ead_core.sampling.reentry import process_below
from ead_core.sampling.requests import sampler_config

WIDTH = 0.5
SYNCHRONOUS = {"sampler.policy": "synchronous"}


@pytest.fixture
def make_model(make_checkpoint):
    return lambda changes=SYNCHRONOUS: load_checkpoint(make_checkpoint(changes))


@pytest.fixture
def few(molecules):
    """Three molecules of two sizes."""
    return molecules.select([0, 1, 3])


@pytest.fixture
def exact(make_model, monkeypatch):
    """A model with 100 levels that knows the noise of Gaussian molecules of WIDTH."""
    changes = {**SYNCHRONOUS, "diffusion.steps": 100, "diffusion.precision": 1e-5, "sampler.solver": "dpmpp_2m_sde"}
    model = make_model(changes)

    def predict(inputs):
        z, levels = inputs.z, inputs.levels
        alpha, sigma = (c(levels)[..., None].to(z.dtype) for c in (model.schedule.alpha, model.schedule.sigma))
        return sigma * z / (alpha**2 * WIDTH**2 + sigma**2)

    monkeypatch.setattr(model.denoiser, "forward", predict)
    return model


def gaussian_molecules(count, atoms=6):
    generator = np.random.default_rng(0)
    positions = WIDTH * generator.normal(size=(count, atoms, 3))
    return MoleculeSet.from_lists(list(generator.choice([6, 8], size=(count, atoms))), list(positions))


def test_from_level_0_molecules_come_back_as_they_are(make_model, few):
    same = reenter(make_model(), few, 0)
    assert np.array_equal(same.positions, few.positions)
    assert np.array_equal(same.charges, few.charges)
    assert not same.properties["nfe"].any()


@pytest.mark.parametrize("policy", ["synchronous", "adaptive"])
def test_from_the_top_the_molecules_are_those_of_sample(make_model, few, policy):
    """At T nothing of the molecules is left but their sizes."""
    model = make_model({"sampler.policy": policy, "sampler.async_ratio": 0.6})
    made = reenter(model, few, 20, seed=3)
    drawn = sample(model, len(few), 3, few.num_atoms.tolist())
    assert np.array_equal(made.positions, drawn.positions)
    assert np.array_equal(made.charges, drawn.charges)
    assert np.array_equal(made.properties["nfe"], drawn.properties["nfe"])


@pytest.mark.parametrize("level", [10, 28, 55])
def test_gaussian_molecules_return_with_their_moments(exact, level):
    """With the exact ε̂ the result is a draw from q(x | z_t): as wide as the data, and with their covariance
    α² s² / (α² s² + σ²) to what was noised.
    """
    molecules = gaussian_molecules(400)
    made = reenter(exact, molecules, level)
    before, after = (each.positions.reshape(-1, 6, 3) for each in (molecules, made))
    before = before - before.mean(axis=1, keepdims=True)
    alpha2 = float(exact.schedule.alpha(torch.tensor(level))) ** 2
    kept = alpha2 * WIDTH**2 / (alpha2 * WIDTH**2 + 1 - alpha2)
    assert after.var() == pytest.approx(WIDTH**2 * 5 / 6, rel=0.05)
    assert (before * after).mean() / before.var() == pytest.approx(kept, abs=0.03)


def test_elements_survive_little_noise_and_not_much(exact):
    molecules = gaussian_molecules(100)
    right = [float((reenter(exact, molecules, level).charges == molecules.charges).mean()) for level in (1, 90)]
    assert right[0] > 0.99
    assert right[1] < 0.7


@pytest.mark.parametrize("kind", ["even", "quadratic"])
@pytest.mark.parametrize("level", [1, 7, 10, 19, 20])
def test_the_grid_below_a_level_is_the_samplers_own(make_model, few, kind, level):
    model = make_model({**SYNCHRONOUS, "sampler.steps": 10, "sampler.grid": kind})
    grid, whole = (
        process_below(model, model.config.sampler, level, 6).grid.tolist(),
        sampling_grid(20, 10, kind).tolist(),
    )
    assert grid == [*(index for index in whole if index < level), level]
    made = reenter(model, few.select([0]), level)
    assert made.properties["nfe"].tolist() == [len(grid)]  # a call for every grid step, and one to decode


@pytest.mark.parametrize("level", [10, 15, 20])
def test_no_molecule_enters_above_where_the_sampler_starts(make_model, level):
    """A step from a level to itself would be of length zero."""
    model = make_model()
    grid = process_below(model, sampler_config(model, {"start": 0.5}), level, 6).grid
    assert grid.tolist() == list(range(11))


def test_noise_has_its_seed(make_model, few):
    model = make_model()
    first, again, other = (reenter(model, few, 10, seed).positions for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.1)


def test_a_model_with_conditions_is_told_none(few, conditional):
    told = reenter(load_checkpoint(conditional), few, 10)
    assert told.num_atoms.tolist() == few.num_atoms.tolist()
    assert np.isfinite(told.positions).all()


@pytest.mark.parametrize("level", [-1, 21])
def test_a_level_that_there_is_not_is_refused(make_model, few, level):
    with pytest.raises(ConfigError, match=f"between 0 and the 20 of training, not {level}"):
        reenter(make_model(), few, level)


def test_a_model_that_decides_sizes_is_refused(make_model, few):
    with pytest.raises(ConfigError, match="checkpoint decides sizes by itself"):
        reenter(make_model({"diffusion.size_mode": "dummy"}), few, 10)


def test_an_unknown_element_is_refused(make_model):
    nitrogen = MoleculeSet.from_lists([[7, 6]], [np.eye(2, 3)])
    with pytest.raises(DataError, match="element N"):
        reenter(make_model(), nitrogen, 10)


def test_a_row_of_the_table(make_model, few):
    cells = row(make_model(), few, 10, 0).split("|")
    assert [cell.strip() for cell in cells[1:3]] == ["checkpoint", "10"]
    assert cells[-2].strip() == "11"
