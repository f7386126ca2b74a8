"""A fragment stays as it was given, in its frame, and the rest is generated around it."""

import numpy as np
import pytest
import torch

from ead_core.diffusion.engine import Engine
from ead_core.diffusion.fragments import Fragment, impose
from ead_core.diffusion.generation import fulfil
from ead_core.diffusion.policy import Resampled, Situation
from ead_core.diffusion.requests import Request, sampler_config
from ead_core.errors import ConfigError, DataError
from ead_core.molecules import AtomTypes, size_mask
from ead_core.training.checkpoint import load_checkpoint

TYPES = AtomTypes((6, 8))
FRAGMENT = Fragment(np.array([8, 6, 6]), np.array([[5.0, 0, 0], [6.2, 0, 0.5], [7.0, 1.0, 0]]))
SETTINGS = {"policy": "resample", "resamplings": 3}


@pytest.fixture
def checkpoint(make_checkpoint):
    return load_checkpoint(make_checkpoint())


def completed(checkpoint, num=4, fragment=FRAGMENT, sizes=None, **settings):
    config = sampler_config(checkpoint, {**SETTINGS, **settings})
    return fulfil(checkpoint, Request(num, config, 3, sizes=sizes, fragment=fragment))


@pytest.mark.parametrize("settings", [{}, {"policy": "adaptive", "async_ratio": 0.5}], ids=["resample", "adaptive"])
def test_every_molecule_has_the_fragment_exactly_where_it_was(checkpoint, settings):
    molecules = completed(checkpoint, sizes=(4, 6), **settings)
    assert molecules.num_atoms.tolist() == [4, 6, 4, 6]
    for index in range(4):
        charges, positions = molecules.molecule(index)
        assert charges[:3].tolist() == [8, 6, 6]
        assert np.array_equal(positions[:3], FRAGMENT.positions.astype(np.float32))
        assert np.isfinite(positions).all()


def test_the_rest_depends_on_the_fragment_but_not_on_where_it_is(checkpoint):
    shift = np.array([1.0, -2.0, 3.0])
    fragments = FRAGMENT.positions, FRAGMENT.positions + shift, FRAGMENT.positions * 3
    first, moved, other = (
        completed(checkpoint, 1, Fragment(FRAGMENT.charges, positions), (6,)).positions[3:] for positions in fragments
    )
    assert np.allclose(first + shift, moved, atol=1e-4)
    assert np.abs((first - first.mean(0)) - (other - other.mean(0))).max() > 1e-3


def test_without_sizes_there_is_room_for_more_than_the_fragment(checkpoint):
    wide = Fragment(np.array([6] * 4), np.arange(12.0).reshape(4, 3))
    molecules = completed(checkpoint, 20, wide)
    assert set(molecules.num_atoms.tolist()) == {5, 6}


def test_each_step_costs_its_rounds(checkpoint):
    assert set(completed(checkpoint, 2, sizes=(5,)).properties["nfe"]) == {3 * 20 + 1}


def test_requests_with_and_without_fragment_share_the_engine(checkpoint):
    config = sampler_config(checkpoint, SETTINGS)
    engine = Engine(checkpoint, 8, 1.0)
    requests = [Request(2, config, 3, sizes=(6,), fragment=kept) for kept in (FRAGMENT, None)]
    tickets, done = [engine.submit(request) for request in requests], {}
    while engine.busy:
        done |= engine.step()
    for ticket, request in zip(tickets, requests, strict=True):
        assert np.abs(done[ticket].positions - fulfil(checkpoint, request).positions).max() < 1e-3


def test_held_atoms_are_noised_copies_at_their_levels_with_the_centroid_of_before():
    held = FRAGMENT.held(size_mask([5, 4]), TYPES)
    z, noise = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    alpha, sigma = torch.rand(2, 1, 1).expand(-1, 5, -1), torch.rand(2, 1, 1).expand(-1, 5, -1)
    shown = impose(z, held, alpha, sigma, noise)
    assert torch.equal(shown[:, 3:], z[:, 3:])
    assert torch.allclose(shown[:, :3, :3].mean(1), z[:, :3, :3].mean(1), atol=1e-5)
    clean = (shown - sigma * noise)[:, :3] / alpha[:, :3]
    expected = torch.from_numpy(FRAGMENT.positions - FRAGMENT.positions.mean(0)).float()
    shape = clean[..., :3] - clean[..., :3].mean(1, keepdim=True)
    assert torch.allclose(shape, expected.expand(2, -1, -1), atol=1e-3)
    assert torch.allclose(clean[..., 3:], TYPES.features(torch.tensor([1, 0, 0])).expand(2, -1, -1), atol=1e-3)


def test_all_atoms_advance_in_the_last_round():
    rungs = torch.tensor([[4, 4, 0]])
    for pauses, moves in [(0, False), (1, False), (2, True)]:
        zeros = torch.zeros(1)
        now = Situation(
            zeros, zeros, rungs, torch.ones(1, 3, dtype=torch.bool), zeros, zeros, torch.full((1, 3), pauses), zeros
        )
        assert Resampled(3).advance(now)[0].tolist() == [moves, moves, False]


@pytest.mark.parametrize(
    ("fragment", "sizes", "sentence"),
    [
        (FRAGMENT, (3,), r"sizes must be at least 4 atoms, one more than the fragment, not 3\."),
        (
            Fragment(np.full(6, 6), np.zeros((6, 3))),
            None,
            "the fragment has 6 atoms, but training molecules have at most 6",
        ),
    ],
)
def test_a_fragment_without_room_is_refused(checkpoint, fragment, sizes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        completed(checkpoint, fragment=fragment, sizes=sizes)


def test_an_unknown_element_is_named(checkpoint):
    with pytest.raises(DataError, match="element N is not in the model's set"):
        completed(checkpoint, fragment=Fragment(np.array([7]), np.zeros((1, 3))))


def test_a_model_that_decides_sizes_keeps_no_fragment(make_checkpoint):
    checkpoint = load_checkpoint(make_checkpoint({"diffusion.size_mode": "dummy"}))
    with pytest.raises(ConfigError, match="decides sizes by itself"):
        completed(checkpoint)
