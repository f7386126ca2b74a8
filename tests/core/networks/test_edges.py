"""The fused edge operation against the plain formula: values, gradients, and what it keeps."""

import pytest
import torch
from torch.nn.functional import linear, silu

from ead_core.networks.edges import EdgeWeights, edge_network
from ead_core.networks.radial import radial_basis

B, N, H, D, P = 2, 4, 5, 3, 2
F64 = torch.float64


def fused(inputs, edges):
    return edge_network(*inputs[:3], EdgeWeights(*inputs[3:]), edges)


def plain(inputs, edges):
    receiver, sender, distances, distance, second, second_bias, projection, projection_bias = inputs
    if distance.shape[1] > distances.shape[3]:
        grid = torch.linspace(0, 1, distance.shape[1] // distances.shape[3], dtype=distances.dtype)
        bounded = distances / (distances + 3)
        distances = torch.exp(-0.5 * ((bounded[..., None] - grid) * len(grid)) ** 2).flatten(3)
    first = receiver[:, :, None] + sender[:, None] + linear(distances, distance)
    message = silu(linear(silu(first), second, second_bias))
    projections = linear(message, projection, projection_bias)
    gate = torch.sigmoid(projections[..., 0]) * edges
    return projections, torch.einsum("bij,bijh->bih", gate, message)


@pytest.fixture(params=[1, 16], ids=["distances", "basis"])
def inputs(request, make_inputs):
    return make_inputs((B, N, H, D, request.param, P), F64)


@pytest.fixture
def edges(make_edges):
    return make_edges(B, N, F64)


def test_values_are_those_of_the_formula(inputs, edges):
    for ours, theirs in zip(fused(inputs, edges), plain(inputs, edges), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7)
    with torch.no_grad():  # where inputs are overwritten on the way
        before = [tensor.clone() for tensor in inputs]
        for ours, theirs in zip(fused(inputs, edges), plain(inputs, edges), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7)
        assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def test_without_edges_only_projections_are_made(inputs, edges):
    projections, gathered = fused(inputs, None)
    assert torch.allclose(projections, plain(inputs, edges)[0], rtol=1e-7, atol=1e-7)
    assert gathered.numel() == 0


@pytest.mark.parametrize("gathers", [True, False])
def test_gradients_are_those_of_finite_differences(inputs, edges, gathers):
    outputs = slice(None) if gathers else slice(1)
    assert torch.autograd.gradcheck(lambda *tensors: fused(tensors, edges if gathers else None)[outputs], inputs)


def kept_by(operation):
    """Numbers of elements of the tensors that `operation` keeps for its backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        operation()
    return kept


def test_one_edge_tensor_is_kept_for_the_backward_pass(make_inputs, edges):
    inputs, size = make_inputs((B, N, H, D, 1, P), F64), B * N * N * H
    assert sum(count >= size for count in kept_by(lambda: fused(inputs, edges))) == 1
    assert sum(count >= size for count in kept_by(lambda: plain(inputs, edges))) >= 4


def test_radial_basis_peaks_at_its_centres():
    distance = torch.tensor([0.0, 3.0, 1e6], dtype=F64)  # u = 0, 1/2, 1
    basis = radial_basis(distance, 17)
    assert basis.argmax(dim=-1).tolist() == [0, 8, 16]
    assert torch.allclose(basis.amax(dim=-1), torch.ones(3, dtype=F64), atol=1e-8, rtol=0)
