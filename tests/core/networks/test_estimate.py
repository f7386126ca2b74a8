"""What networks make of an earlier estimate of the clean molecule."""

import copy

import pytest
import torch

from ead_core.config import NetworkConfig
from ead_core.data.tensors import centre_state, size_mask
from ead_core.errors import ConfigError
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.denoiser import build_denoiser
from ead_core.networks.inputs import DenoiserInput

FEATURES, STEPS, ATOMS = 6, 1000, 7
TAKING = [kind for kind, backbone in BACKBONES.items() if backbone.takes_estimate]


def fresh(kind):
    config = NetworkConfig(kind=kind, hidden_features=32, layers=2, edge_features=16, vectors=4, self_conditioning=True)
    return build_denoiser(config, FEATURES, STEPS)


@pytest.fixture(params=TAKING)
def denoiser(request):
    """In float64, away from the zeros at which it begins."""
    torch.manual_seed(0)
    network = fresh(request.param).double()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network.requires_grad_(False)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    mask = size_mask([ATOMS, 5])
    z, estimate = (
        centre_state(torch.randn(2, ATOMS, 3 + FEATURES, generator=generator, dtype=torch.float64), mask)
        for _ in range(2)
    )
    return DenoiserInput(z, torch.randint(0, STEPS + 1, (2, ATOMS), generator=generator), mask, estimate=estimate)


def changed(inputs, **tensors):
    return DenoiserInput(**(vars(inputs) | tensors))


def test_the_estimate_turns_with_the_molecule(denoiser, inputs):
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]

    def turned(state):
        return torch.cat([state[..., :3] @ rotation.T, state[..., 3:]], dim=-1)

    direct = denoiser(inputs)
    moved = denoiser(changed(inputs, z=turned(inputs.z), estimate=turned(inputs.estimate)))
    assert torch.allclose(turned(direct), moved, atol=1e-9)
    assert not torch.allclose(denoiser(changed(inputs, estimate=turned(inputs.estimate))), direct, atol=1e-4)


def test_a_common_translation_changes_nothing(denoiser, inputs):
    shift = torch.tensor([0.3, -2.0, 1.0, *[0] * FEATURES], dtype=torch.float64)
    moved = denoiser(changed(inputs, z=inputs.z + shift, estimate=inputs.estimate + shift))
    assert torch.allclose(moved, denoiser(inputs), atol=1e-9)


def test_permuting_atoms_permutes_the_prediction(denoiser, inputs):
    order = torch.randperm(ATOMS)
    permuted = {name: vars(inputs)[name][:1, order] for name in ("z", "levels", "mask", "estimate")}
    assert torch.allclose(denoiser(inputs)[:1, order], denoiser(DenoiserInput(**permuted)), atol=1e-10)


def test_padding_changes_nothing(denoiser, inputs):
    narrow = {name: vars(inputs)[name][1:, :5] for name in ("z", "levels", "mask", "estimate")}
    junk = inputs.estimate.clone()
    junk[~inputs.mask] = 1e3
    assert torch.allclose(denoiser(changed(inputs, estimate=junk))[1, :5], denoiser(DenoiserInput(**narrow))[0])


def test_molecules_without_an_estimate_are_as_if_there_were_none(denoiser, inputs):
    some = inputs.estimate.clone()
    some[0] = 0
    mixed = denoiser(changed(inputs, estimate=some))
    assert torch.equal(mixed[0], denoiser(changed(inputs, estimate=None))[0])
    assert torch.equal(mixed[1], denoiser(inputs)[1])
    assert not torch.allclose(denoiser(inputs)[0], mixed[0], atol=1e-4)


@pytest.mark.parametrize("kind", TAKING)
def test_a_fresh_network_ignores_the_estimate_and_learns_from_it(kind, inputs):
    network = fresh(kind).double()
    assert torch.equal(network(inputs), network(changed(inputs, estimate=None)))
    for parameter in [p for name, p in network.named_parameters() if not name.startswith("network.estimate")]:
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    network(inputs).square().sum().backward()
    own = network.network.estimate
    assert all(layer.weight.grad.any() for layer in (own.features, own.way, own.block.update[2]))


def test_single_precision_gives_the_values_of_double(kernel, denoiser, inputs):
    single = copy.deepcopy(denoiser).float()
    rounded = single(changed(inputs, z=inputs.z.float(), estimate=inputs.estimate.float()))
    assert torch.allclose(rounded.double(), denoiser(inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in BACKBONES if kind not in TAKING])
def test_a_network_that_cannot_take_one_says_so(kind):
    with pytest.raises(ConfigError) as error:
        fresh(kind)
    assert str(error.value) == f"network.self_conditioning needs another network.kind than {kind}."
