"""Networks are blind to padding and the order of atoms, most are equivariant; `egnn` equals a plain edge-list form."""

import copy

import pytest
import torch

from benchmarks.reference_egnn import edge_list_egnn
from ead_core.config import NetworkConfig
from ead_core.data.tensors import centre_state, size_mask
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.denoiser import build_denoiser
from ead_core.networks.inputs import DenoiserInput

FEATURES, STEPS = 6, 1000


@pytest.fixture(params=BACKBONES)
def denoiser(request):
    torch.manual_seed(0)
    config = NetworkConfig(kind=request.param, hidden_features=32, layers=3, edge_features=16, vectors=4)
    network = build_denoiser(config, FEATURES, STEPS).double()
    for parameter in network.parameters():  # away from zero initialisation, where everything is equivariant
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    mask = size_mask([7, 5, 1])
    z = torch.randn(3, 7, 3 + FEATURES, generator=generator, dtype=torch.float64)
    levels = torch.randint(0, STEPS + 1, (3, 7), generator=generator)
    return centre_state(z, mask), levels, mask


@pytest.mark.parametrize("denoiser", [kind for kind in BACKBONES if BACKBONES[kind].equivariant], indirect=True)
def test_rotation_and_reflection_turn_the_prediction(denoiser, inputs):
    z, levels, mask = inputs
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    for transform in (rotation, -rotation):
        turned = torch.cat([z[..., :3] @ transform.T, z[..., 3:]], dim=-1)
        direct, moved = denoiser(DenoiserInput(z, levels, mask)), denoiser(DenoiserInput(turned, levels, mask))
        assert torch.allclose(direct[..., :3] @ transform.T, moved[..., :3], atol=1e-9)
        assert torch.allclose(direct[..., 3:], moved[..., 3:], atol=1e-9)
        assert float(direct.detach()[..., :3].abs().max()) > 1e-3


def test_permuting_atoms_and_levels_permutes_the_prediction(denoiser, inputs):
    z, levels, mask = inputs
    order = torch.randperm(7)
    direct = denoiser(DenoiserInput(z[:1], levels[:1], mask[:1]))
    permuted = denoiser(DenoiserInput(z[:1, order], levels[:1, order], mask[:1, order]))
    assert torch.allclose(direct[:, order], permuted, atol=1e-10)


def test_levels_belong_to_atoms(denoiser, inputs):
    z, levels, mask = inputs
    swapped = levels.clone()
    swapped[0, :2] = levels[0, :2].flip(0)
    assert not torch.allclose(
        denoiser(DenoiserInput(z, levels, mask))[0], denoiser(DenoiserInput(z, swapped, mask))[0], atol=1e-4
    )


def test_padding_changes_nothing(denoiser, inputs):
    z, levels, mask = inputs
    narrow = denoiser(DenoiserInput(z[1:2, :5], levels[1:2, :5], mask[1:2, :5]))
    junk = z.clone()
    junk[~mask] = 1e3
    wide = denoiser(DenoiserInput(junk, levels, mask))
    assert torch.allclose(wide[1, :5], narrow[0], atol=1e-10)
    assert (wide[~mask] == 0).all()


def test_coordinates_keep_their_centre(denoiser, inputs):
    z, levels, mask = inputs
    assert float(denoiser(DenoiserInput(z, levels, mask)).detach()[..., :3].sum(dim=1).abs().max()) < 1e-10


def test_training_and_inference_modes_agree(denoiser, inputs):
    with torch.no_grad():
        without_gradient = denoiser(DenoiserInput(*inputs))
    assert torch.equal(without_gradient, denoiser(DenoiserInput(*inputs)).detach())


def test_single_precision_gives_the_values_and_gradients_of_double(kernel, denoiser, inputs):
    z, levels, mask = inputs
    exact = denoiser(DenoiserInput(z, levels, mask))
    exact.square().sum().backward()
    rounded = copy.deepcopy(denoiser).float()
    rounded.zero_grad()
    predicted = rounded(DenoiserInput(z.float(), levels, mask))
    predicted.square().sum().backward()
    assert torch.allclose(predicted.double(), exact, atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(rounded.parameters(), denoiser.parameters(), strict=True):
        assert ours.grad is None or torch.allclose(ours.grad.double(), theirs.grad, atol=1e-3, rtol=1e-3)


def test_egnn_agrees_with_the_edge_list_form(kernel, inputs):
    torch.manual_seed(0)
    config = NetworkConfig(kind="egnn", hidden_features=64, layers=4)
    denoiser = build_denoiser(config, FEATURES, STEPS)
    z, levels, mask = inputs
    with torch.no_grad():
        dense = denoiser(DenoiserInput(z.float(), levels, mask))
        plain = edge_list_egnn(denoiser.network.state_dict(), z.float(), levels / STEPS, mask, layers=4)
    assert float(dense.abs().max()) > 0.05
    assert float((dense - plain).abs().max()) < 1e-5


@pytest.mark.parametrize(("hidden", "layers", "parameters"), [(256, 9, 5_339_920), (64, 4, 151_499)])
def test_egnn_has_edms_parameter_count(hidden, layers, parameters):
    config = NetworkConfig(kind="egnn", hidden_features=hidden, layers=layers)
    denoiser = build_denoiser(config, FEATURES, STEPS)
    assert sum(p.numel() for p in denoiser.parameters()) == parameters


@pytest.mark.parametrize("kernel", ["torch", "native"])
def test_causal_messages_come_from_atoms_that_are_no_noisier(denoiser, inputs, kernel, monkeypatch):
    """What an atom's features become does not change with noisier atoms, and does with others."""
    monkeypatch.setenv("EAD_EDGE_KERNEL", "torch" if kernel == "torch" else "auto")
    denoiser = copy.deepcopy(denoiser).to(torch.float64 if kernel == "torch" else torch.float32)
    denoiser.network.causal = True
    z, _, mask = (tensor[:1] for tensor in inputs)
    z, levels = z.to(next(denoiser.parameters()).dtype), torch.tensor([[5, 5, 900, 300, 5, 900, 5]])
    noisy, moved = z.clone(), z.clone()
    noisy[0, 2] += 0.7  # at level 900
    moved[0, 0] += 0.7  # at level 5
    before, after, other = (denoiser(DenoiserInput(state, levels, mask))[0, :, 3:] for state in (z, noisy, moved))
    calm = levels[0] < 900
    assert torch.equal(before[calm], after[calm])
    assert not torch.isclose(before, after, atol=1e-4)[2].all()
    assert ((before - other).abs().amax(-1) > 1e-5).all()


def test_at_equal_levels_causal_messages_are_all_messages(denoiser, inputs):
    z, levels, mask = inputs
    equal = torch.full_like(levels, 7)
    full = denoiser(DenoiserInput(z, equal, mask))
    causal = copy.deepcopy(denoiser)
    causal.network.causal = True
    assert torch.allclose(causal(DenoiserInput(z, equal, mask)), full, atol=1e-12)
    assert not torch.allclose(
        causal(DenoiserInput(z, levels, mask)), denoiser(DenoiserInput(z, levels, mask)), atol=1e-4
    )
