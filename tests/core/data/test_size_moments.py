"""The moments of states by number of atoms are those of the states themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import Statistics, compute_statistics
from ead_core.data.size_moments import size_moments, state_moments
from ead_core.data.tensors import AtomTypes
from ead_core.errors import DataError


def states_of(molecules, atom_types, size):
    """Clean states [M, N, 3 + F] of the molecules with `size` atoms."""
    chosen = molecules.select(np.flatnonzero(molecules.num_atoms == size))
    return TrainingBatches(chosen, atom_types, len(chosen), 0).gather(range(len(chosen))).state(atom_types).double()


def test_moments_are_those_of_the_states(molecules, statistics):
    atom_types = AtomTypes(statistics.atom_numbers)
    mean, variance = state_moments(statistics.moments, statistics.sizes, atom_types)
    assert mean.shape == variance.shape == (7, 3 + atom_types.num_features)
    for size in (4, 5, 6):
        states = states_of(molecules, atom_types, size)
        assert torch.allclose(mean[size, 3:], states[..., 3:].mean(dim=(0, 1)), atol=1e-6)
        assert torch.allclose(variance[size, 3:], states[..., 3:].flatten(0, 1).var(dim=0, correction=0), atol=1e-6)
        per_freedom = (states[..., :3] ** 2).sum() / (len(states) * 3 * (size - 1))
        assert torch.allclose(variance[size, :3], per_freedom, atol=1e-5)
    assert not mean[:, :3].any()


def test_empty_slots_count_where_there_are_any(molecules, statistics):
    """Six slots for all: a dummy sits at the centre, and is a type of its own."""
    atom_types = AtomTypes((0, *statistics.atom_numbers))
    mean, variance = state_moments(statistics.moments, statistics.sizes, atom_types)
    states = torch.zeros(len(molecules), 6, 3 + atom_types.num_features, dtype=torch.float64)
    states[..., 3] = 0.25
    for row, (charges, positions) in enumerate(map(molecules.molecule, range(len(molecules)))):
        features = atom_types.features(atom_types.types(torch.from_numpy(charges)))
        states[row, : len(charges)] = torch.cat([torch.from_numpy(positions - positions.mean(axis=0)), features], 1)
    assert torch.allclose(mean[6, 3:], states[..., 3:].mean(dim=(0, 1)), atol=1e-6)
    assert torch.allclose(variance[6, 3:], states[..., 3:].flatten(0, 1).var(dim=0, correction=0), atol=1e-6)
    assert torch.allclose(variance[6, :3], (states[..., :3] ** 2).sum() / (len(states) * 15), atol=1e-5)


def test_a_number_of_atoms_never_seen_takes_the_nearest(statistics):
    mean, variance = state_moments(statistics.moments, statistics.sizes, AtomTypes(statistics.atom_numbers))
    assert torch.equal(mean[1], mean[4])
    assert torch.equal(variance[0], variance[4])


def test_single_atoms_have_no_spread(make_molecules):
    found = compute_statistics(make_molecules((2, 1)), name="", sha256="").moments
    assert found[1].variance == 0
    assert found[2].variance > 0


def test_molecules_that_are_not_finite_do_not_count(make_molecules):
    molecules = make_molecules((4, 5, 4))
    broken = replace(molecules, positions=molecules.positions.copy())
    broken.positions[4:9] = np.nan, np.inf, 0
    assert size_moments(broken) == size_moments(molecules[[0, 2]])


def test_statistics_keep_them_and_do_without(statistics):
    assert Statistics.from_json(json.loads(json.dumps(statistics.to_json()))) == statistics
    before = replace(statistics, moments={})
    assert "moments" not in before.to_json()
    assert Statistics.from_json(before.to_json()) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"7": {"variance": 1.0, "elements": [1, 2]}},
        {"4": {"variance": 1.0, "elements": [1]}},
        {"4": {"variance": -1.0, "elements": [1, 2]}},
        {"4": {"variance": 1.0, "elements": [0, 0]}},
        {"4": {"elements": [1, 2]}},
    ],
)
def test_moments_of_nothing_are_refused(statistics, wrong):
    with pytest.raises(DataError, match="the statistics of training data"):
        Statistics.from_json({**statistics.to_json(), "moments": wrong})
