"""Networks in random frames: the frame belongs to the molecule, and all ways of sampling take such networks."""

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.tensors import size_mask
from ead_core.networks import symmetrised
from ead_core.sampling import sampler, state
from ead_core.sampling.build import build_process
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.generation import fulfil, sample
from ead_core.sampling.requests import Request, sampler_config
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

LEARNED = {
    "network.kind": "dit",
    "network.symmetrise": "learned",
    "network.frame_features": 8,
    "network.frame_layers": 1,
}
FRAGMENT = Fragment(np.array([8, 6, 6]), np.array([[5.0, 0, 0], [6.2, 0, 0.5], [7.0, 1.0, 0]]))
SIZES = (5, 6, 4, 6)


def perturbed(folder):
    """Its checkpoint in double precision, with frames that depend on the molecule."""
    checkpoint = load_checkpoint(folder)
    generator = torch.Generator().manual_seed(0)
    for parameter in checkpoint.denoiser.double().parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return checkpoint


@pytest.fixture
def checkpoint(make_checkpoint):
    return perturbed(make_checkpoint(LEARNED))


@pytest.fixture
def draws(checkpoint):
    """What each network call of the checkpoint is given to draw frames from."""
    seen = []
    checkpoint.denoiser.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].draws))
    return seen


@pytest.mark.parametrize(
    "settings",
    [{"policy": "synchronous", "frames": "call"}, {"policy": "adaptive", "solver": "dpmpp_2m_sde", "frames": "run"}],
    ids=lambda settings: settings["frames"],
)
def test_a_molecule_is_the_same_in_any_batch(checkpoint, same, settings):
    config = sampler_config(checkpoint, {"steps": 8, **settings})
    whole = fulfil(checkpoint, Request(4, config, 1, sizes=SIZES))
    alone = sampler_config(checkpoint, {"steps": 8, "batch_size": 1, **settings})
    assert same(whole, fulfil(checkpoint, Request(4, alone, 1, sizes=SIZES)))


def test_frames_are_kept_or_drawn_anew(checkpoint, draws):
    kept = sample(checkpoint, 2, sizes=[5], steps=10, policy="synchronous")
    assert all(torch.equal(one, draws[0]) for one in draws)
    assert not torch.equal(draws[0][0], draws[0][1])
    first = draws[0].clone()
    draws.clear()
    other = sample(checkpoint, 2, sizes=[5], steps=10, policy="synchronous", frames="call")
    assert torch.equal(draws[0], first)
    assert len({float(one[0, 0]) for one in draws}) == len(draws) == 11
    assert np.abs(kept.positions - other.positions).max() > 1e-3


def test_turned_noise_in_turned_frames_makes_turned_molecules_on_the_same_way(checkpoint, monkeypatch):
    """Exactly: levels of all atoms after every step are equal, however they were decided."""
    rotation = symmetrised.haar(torch.tensor([[0.3, 0.6, 0.1, 0.2]], dtype=torch.float64))[0]
    config = sampler_config(checkpoint, {"steps": 8, "policy": "adaptive", "async_ratio": 0.8, "max_pauses": 3})
    process = build_process(checkpoint, config, largest=6)
    ids = torch.arange(4)

    def run():
        begin = initial_state(ids, ids, size_mask([6, 5, 6, 4]), 6, process, torch.float64)
        return list(trajectory(begin, process))

    before = run()
    for module in (state, sampler):

        def turned(*key, plain=module.normal):
            noise = plain(*key)
            return torch.cat([noise[..., :3] @ rotation, noise[..., 3:]], dim=-1)

        monkeypatch.setattr(module, "normal", turned)
    haar = symmetrised.haar
    monkeypatch.setattr(symmetrised, "haar", lambda draws: rotation.T @ haar(draws))
    after = run()
    assert [now.grid_index.tolist() for now in before] == [now.grid_index.tolist() for now in after]
    assert len({tuple(now.pauses.flatten().tolist()) for now in before}) > 3
    assert torch.allclose(before[-1].z[..., :3] @ rotation, after[-1].z[..., :3], atol=1e-6)
    assert torch.allclose(before[-1].z[..., 3:], after[-1].z[..., 3:], atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "manual", "group_size": 2},
        {"policy": "random", "pause_mode": "renoise"},
        {"policy": "synchronous", "corrector": 1, "corrector_levels": (0, 0.5)},
        {"policy": "synchronous", "solver": "dpmpp_2m_sde", "temperature": 0.5, "parity_restarts": 2},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_a_fragment_stays_where_it_was(make_checkpoint, settings):
    checkpoint = load_checkpoint(make_checkpoint({**LEARNED, "training.fragments": 0.2}))
    config = sampler_config(checkpoint, {"steps": 10, **settings})
    made = fulfil(checkpoint, Request(3, config, 3, sizes=(5, 6), fragment=FRAGMENT))
    assert np.isfinite(made.positions).all()
    for index in range(3):
        assert np.array_equal(made.molecule(index)[1][:3], FRAGMENT.positions.astype(np.float32))


def test_guidance_compares_predictions_in_the_same_frame(make_conditional):
    checkpoint, seen = load_checkpoint(make_conditional(LEARNED)), []
    checkpoint.denoiser.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].draws))
    made = sample(
        checkpoint, 2, sizes=[5], steps=5, policy="synchronous", targets={"alpha": 25.0}, guidance=1, frames="call"
    )
    assert np.isfinite(made.positions).all()
    assert len(seen) == 2 * 6
    assert all(torch.equal(*pair) for pair in zip(seen[::2], seen[1::2], strict=True))
