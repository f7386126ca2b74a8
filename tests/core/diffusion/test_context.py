"""The context channels: what is unknown is the same whatever it is, hiding follows its probabilities, and guidance."""

import numpy as np
import pytest
import torch

from ead_core.config import ConditioningConfig, NetworkConfig
from ead_core.data.labels import PropertyStatistics
from ead_core.data.tensors import centre_state, size_mask
from ead_core.diffusion.context import conditioned, encode, guide, hide
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.denoiser import build_denoiser
from ead_core.networks.inputs import DenoiserInput

STATISTICS = {"gap": PropertyStatistics(6000, 1000, 1000, 9000, 5), "mu": PropertyStatistics(2, 1, 0, 9, 5)}


def test_a_known_property_is_scaled_and_marked_and_an_unknown_one_is_zero():
    values = {"mu": np.array([np.nan, 3.5]), "gap": np.array([7500.0, np.nan])}
    assert encode(values, STATISTICS, 2).tolist() == [[1.5, 1, 0, 0], [0, 0, 1.5, 1]]
    assert encode({"mu": np.array([2.0])}, STATISTICS, 1).tolist() == [[0, 0, 0, 1]]
    assert encode({}, STATISTICS, 3).shape == (3, 4)
    assert encode({}, {}, 3).shape == (3, 0)


def test_molecules_of_which_something_is_known_are_told_from_the_others():
    context = encode({"mu": np.array([np.nan, 2.0])}, STATISTICS, 2)  # at the mean, the first channel is 0
    assert conditioned(context).tolist() == [False, True]
    assert conditioned(torch.zeros(2, 0)).tolist() == [False, False]


@pytest.mark.parametrize(("drop_all", "drop_each"), [(0.1, 0.3), (0.0, 0.25), (0.5, 0.0), (1.0, 0.0), (0.0, 0.0)])
def test_properties_are_hidden_with_their_probabilities(drop_all, drop_each):
    num, config = 20_000, ConditioningConfig(properties=("a", "b", "c"), drop_all=drop_all, drop_each=drop_each)
    context = torch.stack([torch.full((num, 3), -1.5), torch.ones(num, 3)], dim=-1).flatten(1)
    kept = hide(context, config, torch.Generator().manual_seed(0)).unflatten(1, (3, 2))
    assert torch.equal(kept[..., 0], -1.5 * kept[..., 1])
    known = kept[..., 1].double()
    keep = (1 - drop_all) * (1 - drop_each)
    assert known.mean(dim=0).tolist() == pytest.approx([keep] * 3, abs=0.015)
    nothing = drop_all + (1 - drop_all) * drop_each**3
    assert float((known.sum(dim=1) == 0).double().mean()) == pytest.approx(nothing, abs=0.015)


def test_some_molecules_keep_one_measured_property_and_some_only_numbers_of_atoms():
    names, num = ("gap", "mu", "atoms_C", "atoms_O"), 20_000
    config = ConditioningConfig(properties=names, drop_all=0.1, drop_each=0, drop_others=0.4, drop_measured=0.2)
    marks = torch.ones(num, 4)
    marks[::2, 1] = 0  # `mu` of every other molecule is unknown
    context = torch.stack([torch.full((num, 4), 2.0), torch.ones(num, 4)], dim=-1) * marks[..., None]
    kept = hide(context.flatten(1), config, torch.Generator().manual_seed(0)).unflatten(1, (4, 2))
    assert torch.equal(kept[..., 0], 2 * kept[..., 1])

    def share(rows, *pattern):
        return float((kept[rows, :, 1] == torch.tensor(pattern)).all(dim=1).double().mean())

    both, one = slice(1, None, 2), slice(0, None, 2)
    assert [share(both, *p) for p in ((1, 0, 0, 0), (0, 1, 0, 0))] == pytest.approx([0.9 * 0.2] * 2, abs=0.015)
    assert share(one, 1, 0, 0, 0) == pytest.approx(0.9 * 0.4, abs=0.015)
    assert share(both, 0, 0, 1, 1) == pytest.approx(0.9 * 0.2, abs=0.015)
    assert share(both, 0, 0, 0, 0) == pytest.approx(0.1, abs=0.015)
    assert share(both, 1, 1, 1, 1) == pytest.approx(0.9 * 0.4, abs=0.015)


def test_a_molecule_of_which_nothing_is_measured_keeps_what_is_known():
    config = ConditioningConfig(properties=("gap", "atoms_C"), drop_all=0, drop_each=0, drop_others=1)
    context = torch.tensor([[0.0, 0.0, 3.0, 1.0]])
    assert torch.equal(hide(context, config, torch.Generator().manual_seed(0)), context)


def test_guidance_goes_beyond_the_conditional_prediction():
    eps, free = torch.tensor([3.0]), torch.tensor([1.0])
    assert [guide(eps, free, torch.tensor([w])).item() for w in (0.0, 0.5, 2.0)] == [3.0, 4.0, 7.0]


@pytest.fixture(params=BACKBONES)
def config(request):
    return NetworkConfig(kind=request.param, hidden_features=16, layers=2, edge_features=16, vectors=2)


@pytest.fixture
def inputs():
    mask = size_mask([5, 3])
    return centre_state(torch.randn(2, 5, 8), mask), torch.randint(0, 100, (2, 5)), mask


def with_context(config, channels):
    """An unconditional denoiser, and one with the same weights and columns of zeros for a context."""
    plain, wide = build_denoiser(config, 5, 100), build_denoiser(config, 5, 100, channels)
    for parameter in plain.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    weights = plain.state_dict()
    weights["network.embed.weight"] = torch.nn.functional.pad(weights["network.embed.weight"], (0, channels))
    wide.load_state_dict(weights)
    return plain, wide


def test_context_columns_of_zero_are_the_unconditional_network(config, inputs):
    plain, wide = with_context(config, 4)
    for context in (None, torch.randn(2, 4)):
        assert torch.allclose(wide(DenoiserInput(*inputs, context)), plain(DenoiserInput(*inputs)), atol=1e-6)


def test_the_last_columns_are_the_context_of_every_atom(config, inputs):
    _, wide = with_context(config, 4)
    weight = wide.network.embed.weight
    weight.data[:, -4:] = torch.randn(len(weight), 4)
    nothing, something = (
        wide(DenoiserInput(*inputs)),
        wide(DenoiserInput(*inputs, torch.tensor([[0.0, 0, 0, 0], [1, 1, 0, 0]]))),
    )
    assert torch.equal(wide(DenoiserInput(*inputs, torch.zeros(2, 4))), nothing)  # None is all unknown
    assert torch.allclose(something[0], nothing[0], atol=1e-6)
    assert float((something[1, :3] - nothing[1, :3]).detach().abs().amax(dim=1).min()) > 1e-4
    assert not something[1, 3:].any()
    bias = wide.network.embed.bias
    bias.data += weight.data[:, -4] + weight.data[:, -3]
    assert torch.allclose(wide(DenoiserInput(*inputs))[1], something[1], atol=1e-5)


def test_the_calls_of_a_network_with_context_are_counted_with_it(config):
    from ead_core.networks.memory import call_bytes

    plain, wide = with_context(config, 4)
    assert call_bytes(wide, 10) - call_bytes(plain, 10) == 2.5 * 4 * 10 * 4
