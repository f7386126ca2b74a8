"""The fused edge operation against the plain formula: values, gradients, and what it keeps."""

import pytest
import torch
from torch.nn.functional import linear, silu

from ead_core.networks.edges import EdgeWeights, edge_network

B, N, H, D, P = 2, 4, 5, 3, 2


@pytest.fixture
def inputs():
    """Receiver, sender, distances and the five weights, in double precision and with gradients."""
    shapes = [(B, N, H), (B, N, H), (B, N, N, D), (H, D), (H, H), (H,), (P, H), (P,)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.fixture
def edges():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]], dtype=torch.float64)
    return mask[:, :, None] * mask[:, None, :] * (1 - torch.eye(N, dtype=torch.float64))


def fused(inputs, edges):
    return edge_network(*inputs[:3], EdgeWeights(*inputs[3:]), edges)


def plain(inputs, edges):
    receiver, sender, distances, distance, second, second_bias, projection, projection_bias = inputs
    first = receiver[:, :, None] + sender[:, None] + linear(distances, distance)
    message = silu(linear(silu(first), second, second_bias))
    projections = linear(message, projection, projection_bias)
    gate = torch.sigmoid(projections[..., 0]) * edges
    return projections, torch.einsum("bij,bijh->bih", gate, message)


def test_values_are_those_of_the_formula(inputs, edges):
    for ours, theirs in zip(fused(inputs, edges), plain(inputs, edges), strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():  # where inputs are overwritten on the way
        before = [tensor.clone() for tensor in inputs]
        for ours, theirs in zip(fused(inputs, edges), plain(inputs, edges), strict=True):
            torch.testing.assert_close(ours, theirs)
        assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def test_without_edges_only_projections_are_made(inputs, edges):
    projections, gathered = fused(inputs, None)
    torch.testing.assert_close(projections, plain(inputs, edges)[0])
    assert gathered.numel() == 0


@pytest.mark.parametrize("gathers", [True, False])
def test_gradients_are_those_of_finite_differences(inputs, edges, gathers):
    outputs = slice(None) if gathers else slice(1)
    assert torch.autograd.gradcheck(lambda *tensors: fused(tensors, edges if gathers else None)[outputs], inputs)


def test_one_edge_tensor_is_kept_for_the_backward_pass(inputs, edges):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        fused(inputs, edges)
    assert sum(count >= B * N * N * H for count in kept) == 1
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        plain(inputs, edges)
    assert sum(count >= B * N * N * H for count in kept) >= 4
