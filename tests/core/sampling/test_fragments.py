"""A fragment stays as it was given, in its frame, and the rest is generated around it."""

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.tensors import AtomTypes, MoleculeBatch, about, size_mask
from ead_core.diffusion.gauge import PinnedGauge
from ead_core.diffusion.held_parts import draw_held
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.errors import ConfigError, DataError
from ead_core.sampling.engine import Engine
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

FRAGMENT = Fragment(np.array([8, 6, 6]), np.array([[5.0, 0, 0], [6.2, 0, 0.5], [7.0, 1.0, 0]]))
POLICIES = [
    {"policy": "synchronous"},
    {"policy": "adaptive", "async_ratio": 0.5},
    {"policy": "random", "async_ratio": 0.5, "pause_mode": "renoise"},
    {"policy": "synchronous", "solver": "dpmpp_2m_sde", "steps": 10},
]


@pytest.fixture
def checkpoint(make_checkpoint):
    return load_checkpoint(make_checkpoint({"training.fragments": 0.2}))


def completed(checkpoint, num=4, fragment=FRAGMENT, sizes=None, seed=3, **settings):
    config = sampler_config(checkpoint, {"steps": 10, **settings})
    return fulfil(checkpoint, Request(num, config, seed, sizes=sizes, fragment=fragment))


@pytest.mark.parametrize("settings", POLICIES, ids=lambda settings: "-".join(map(str, settings.values())))
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


def test_the_schedule_of_the_others_takes_no_notice_of_held_atoms(checkpoint):
    """They are clean from the start, but neither force the others down nor take calls."""
    assert set(completed(checkpoint, 2, sizes=(5,), policy="synchronous").properties["nfe"]) == {10 + 1}
    paused = completed(checkpoint, 8, sizes=(6,), policy="adaptive", async_ratio=1.0, interval=4)
    assert paused.properties["nfe"].min() > 10 + 1


def begun(process, num, dtype=torch.float32):
    """Molecules of five atoms, three of them held, at the start."""
    ids = torch.arange(num)
    mask = size_mask([5] * num)
    state = initial_state(torch.zeros_like(ids), ids, mask, 6, process, dtype)
    return FRAGMENT.begin(state, AtomTypes((6, 8)))


def test_held_atoms_are_clean_and_the_noise_of_others_is_not_projected(make_process):
    process = make_process(pinned=True)
    state = begun(process, 4000)
    assert state.held.sum(1).unique().tolist() == [3]
    assert (state.grid_index[:, :3] == 0).all()
    assert (state.grid_index[:, 3:] == len(process.grid) - 1).all()
    shape = torch.from_numpy(FRAGMENT.positions - FRAGMENT.positions.mean(0)).float()
    assert torch.allclose(state.z[:, :3, :3], shape.expand(4000, -1, -1))
    free = state.z[:, 3:, :3].flatten(1)
    assert torch.allclose(torch.cov(free.T), torch.eye(6), atol=0.1)  # within a projection, neighbours would repel


@pytest.mark.parametrize("kind", ["even", "quadratic"])
def test_sampling_around_held_atoms_has_the_right_spread(make_process, kind):
    """Free atoms ~ N(c, 0.5²) about the held centroid: with the exact ε̂ the sampler must return that law.

    The network may add any displacement that is common to all atoms, as it does not know the frame.
    """
    schedule, width = NoiseSchedule(1000), 0.5

    def exact(inputs):
        z, levels = inputs.z, inputs.levels
        alpha, sigma = (c(levels)[..., None].to(z.dtype) for c in (schedule.alpha, schedule.sigma))
        eps = sigma * z / (width**2 * alpha**2 + sigma**2)
        eps[:, :3] = 0.0
        return eps + torch.tensor([3.0, -1.0, 2.0, 0, 0, 0])

    process = make_process(function=exact, steps=100, kind=kind, pinned=True)
    *_, last = trajectory(begun(process, 2000, torch.float64), process)
    assert torch.equal(last.z[:, :3], begun(process, 2000, torch.float64).z[:, :3])
    free = last.z[:, 3:, :3].flatten(1)
    assert torch.allclose(free.mean(0), torch.zeros(6, dtype=free.dtype), atol=0.04)
    assert torch.allclose(torch.cov(free.T), width**2 * torch.eye(6, dtype=free.dtype), atol=0.03)


def test_without_sizes_there_is_room_for_more_than_the_fragment(checkpoint):
    wide = Fragment(np.array([6] * 4), np.arange(12.0).reshape(4, 3))
    molecules = completed(checkpoint, 20, wide)
    assert set(molecules.num_atoms.tolist()) == {5, 6}


def test_requests_with_and_without_fragment_share_the_engine(checkpoint):
    config = sampler_config(checkpoint, {"policy": "adaptive"})
    engine = Engine(checkpoint, 8, 1.0)
    requests = [Request(2, config, 3, sizes=(6,), fragment=kept) for kept in (FRAGMENT, None)]
    request_ids, done = [engine.submit(request) for request in requests], {}
    while engine.busy:
        done |= engine.step()
    for request_id, request in zip(request_ids, requests, strict=True):
        assert np.abs(done[request_id].positions - fulfil(checkpoint, request).positions).max() < 1e-3


def test_predictions_are_relative_to_the_held_atoms():
    """A common displacement of all atoms is a translation of the frame, which the others do not feel."""
    held = torch.tensor([[True, True, False, False]])
    gauge, mask = PinnedGauge(NoiseSchedule(50), held), torch.ones(1, 4, dtype=torch.bool)
    eps = torch.randn(1, 4, 6)
    moved = eps + torch.tensor([1.0, 2.0, 3.0, 0, 0, 0])
    levels = torch.full((1, 4), 7)
    assert torch.allclose(gauge.project_noise(eps, levels, mask), gauge.project_noise(moved, levels, mask), atol=1e-6)
    assert torch.equal(gauge.project_noise(eps, levels, mask)[:, :2], torch.zeros(1, 2, 6))
    shift = eps[:, :2, :3].mean(1, keepdim=True)
    assert torch.allclose(gauge.project_noise(eps, levels, mask)[:, 2:, :3], eps[:, 2:, :3] - shift)


def chains(sizes):
    """Carbon chains, 1.5 Å apart, in a row."""
    mask = size_mask(sizes)
    positions = 1.5 * torch.arange(mask.shape[1])[None, :, None] * torch.tensor([1.0, 0, 0])
    return MoleculeBatch(positions * mask[..., None], mask.long(), mask)


def test_a_connected_part_is_held_and_something_is_left():
    batch = chains([2, 7, 7, 12] * 500)
    held = draw_held(batch, AtomTypes((1, 6)), torch.Generator().manual_seed(0))
    assert (held.any(1) & (batch.mask & ~held).any(1)).all()
    assert not (held & ~batch.mask).any()
    steps = held.int().diff(dim=1).abs().sum(1) + held[:, 0].int() + held[:, -1].int()
    assert set(steps.tolist()) == {2}  # of a chain, one stretch: it begins once and ends once
    share = held.sum(1) / batch.mask.sum(1)
    long = batch.mask.sum(1) == 12
    assert float((share[long] > 0.6).float().mean()) > 0.2
    assert float((share[long] < 0.3).float().mean()) > 0.2


def test_a_lonely_atom_has_nothing_to_hold():
    assert not draw_held(chains([1]), AtomTypes((1, 6)), None).any()
    assert not draw_held(chains([1, 3]), AtomTypes((1, 6)), None)[0].any()


def test_the_frame_is_that_of_the_held_atoms():
    state, held = (
        torch.randn(2, 5, 6),
        torch.tensor([[True, True, False, False, False], [False, True, True, True, True]]),
    )
    placed = about(state, held)
    for row in range(2):
        assert torch.allclose(placed[row, held[row], :3].mean(0), torch.zeros(3), atol=1e-6)
    assert torch.allclose(placed.diff(dim=1), state.diff(dim=1), atol=1e-6)


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


@pytest.mark.parametrize(
    ("charges", "positions"),
    [([6, 6, 8], np.zeros((3, 3))), ([6, 8, 8], [[0, 0, 0], [0, 0, 1.2], [0, 0.3, 1.2]]), ([8, 8], [[5, 5, 5.0]] * 2)],
)
def test_atoms_on_one_spot_are_refused(checkpoint, charges, positions):
    with pytest.raises(
        DataError, match=r"^two atoms of the fragment are too close to each other: .* 0\.[03]0 Å apart\.$"
    ):
        completed(checkpoint, fragment=Fragment(np.array(charges), np.array(positions)))


def test_an_unknown_element_is_named(checkpoint):
    with pytest.raises(DataError, match="element N is not in the model's set"):
        completed(checkpoint, fragment=Fragment(np.array([7]), np.zeros((1, 3))))


def test_a_model_that_was_not_trained_for_it_keeps_no_fragment(make_checkpoint):
    checkpoint = load_checkpoint(make_checkpoint())
    with pytest.raises(ConfigError, match=r"was not trained to complete fragments; a recipe with training.fragments"):
        completed(checkpoint)


def test_models_with_dummies_cannot_be_trained_for_it(make_config):
    with pytest.raises(ConfigError, match=r"training\.fragments must be 0 with diffusion\.size_mode=dummy"):
        make_config({"training.fragments": 0.2, "diffusion.size_mode": "dummy"})
