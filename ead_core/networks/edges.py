"""The work on every ordered pair of atoms, in one differentiable operation that keeps little for its backward pass.

Edge tensors [B, N, N, H] are what time and memory go into. Of the five that a two-layer network with a gated sum
makes, only the second pre-activation is kept; the rest is recomputed from it and from per-atom inputs.

Legend: B molecules, N padded atoms, H hidden channels of an edge, D distances of an edge, R basis functions of a
distance, P projections.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, silu

from ead_core.networks.native.edges import native_edge_network, native_suits
from ead_core.networks.precision import autocasts_bf16
from ead_core.networks.radial import radial_basis, radial_basis_backward

silu_backward = torch.ops.aten.silu_backward


@dataclass(frozen=True)
class EdgeWeights:
    """Weights of the operation.

    Attributes:
        distance: [H, D·R] of the first layer, whose other part comes in as `receiver` and `sender`; with R > 1 it
            takes `radial_basis` of each distance.
        second: [H, H] and its bias [H].
        projection: [P, H] and its bias [P].
    """

    distance: Tensor
    second: Tensor
    second_bias: Tensor
    projection: Tensor
    projection_bias: Tensor


def edge_network(
    receiver: Tensor, sender: Tensor, distances: Tensor, weights: EdgeWeights, edges: Tensor | None
) -> tuple[Tensor, Tensor]:
    """m_ij = SiLU(W₂ SiLU(r_i + s_j + W_d d_ij) + b₂), its projections, and its gated sum over senders.

    Computed by a compiled operation (`native_edges.py`) where there is one for these inputs, else by PyTorch.

    Args:
        receiver: r [B, N, H], first-layer contribution of the atom that gathers, bias included.
        sender: s [B, N, H].
        distances: d [B, N, N, D], in Å where there are basis functions.
        weights: of all layers.
        edges: [B, N, N], one for pairs of different real atoms, without gradient; None leaves out the sum.

    Returns:
        Projections p = W_p m + b_p [B, N, N, P], and Σ_j edges · σ(p₀) · m [B, N, H], empty without `edges`.
    """
    inputs = [receiver, sender, distances, *vars(weights).values()]
    if torch.is_autocast_enabled(distances.device.type):
        edges, inputs = _autocast(edges, inputs)
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    if native_suits(edges, inputs):
        projections, gathered = native_edge_network(learns, autocasts_bf16(distances), edges, *inputs)
    else:
        projections, gathered = _EdgeNetwork.apply(learns, edges, *inputs)
    return projections, gathered


def _autocast(edges: Tensor | None, inputs: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
    """Inputs of the types that they have under autocast, in which the backward pass runs as well.

    The compiled operation takes float32, and rounds within (docs/results/precision.md). Elsewhere all is in autocast's
    type but the distances, since bonds differ by hundredths of an ångström.
    """
    single = [tensor.float() for tensor in inputs]
    if native_suits(edges, single):
        return edges, single
    dtype = torch.get_autocast_dtype(inputs[2].device.type)
    lowered = [tensor.to(dtype) for tensor in inputs]
    lowered[2] = single[2]
    return edges if edges is None else edges.to(dtype), lowered


def _features(distances: Tensor, weight: Tensor) -> Tensor:
    """What the first layer takes of the distances: [B, N, N, D·R], in the type of its weight."""
    count = weight.shape[1] // distances.shape[3]
    features = distances if count == 1 else radial_basis(distances, count).flatten(3)
    return features.to(weight.dtype)


def _first(receiver: Tensor, sender: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    """Pre-activation of the first layer, built in one buffer."""
    edge = linear(features, weight)
    edge += receiver[:, :, None, :]
    edge += sender[:, None, :, :]
    return edge


class _EdgeNetwork(torch.autograd.Function):
    """Forward as in `edge_network`; every step overwrites its input where the backward pass does not need it."""

    @staticmethod
    def forward(ctx: Any, learns: bool, edges: Tensor | None, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        receiver, sender, distances, distance, second, second_bias, projection, projection_bias = inputs
        hidden = silu(_first(receiver, sender, _features(distances, distance), distance), inplace=True)
        before = linear(hidden, second, second_bias)
        message = silu(before, inplace=not learns)
        projections = linear(message, projection, projection_bias)
        gathered = receiver.new_empty(0)
        if edges is not None:
            gate = torch.sigmoid(projections[..., 0]) * edges
            gathered = torch.matmul(gate[:, :, None, :], message)[:, :, 0, :]
        if learns:
            ctx.save_for_backward(edges, receiver, sender, distances, distance, second, projection, before, projections)
        return projections, gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_projections: Tensor, grad_gathered: Tensor) -> tuple[Tensor | None, ...]:
        edges, receiver, sender, distances, distance, second, projection, before, projections = ctx.saved_tensors
        message, gate_share = silu(before), None
        if edges is not None:
            openness = torch.sigmoid(projections[..., 0])
            grad_gate = torch.matmul(message, grad_gathered[..., None])[..., 0] * edges
            grad_projections = grad_projections.clone()
            grad_projections[..., 0] += grad_gate * openness * (1 - openness)
            gate_share = (openness * edges)[..., None]
        grad_readout = grad_projections.flatten(0, 2)
        grad_projection = grad_readout.t() @ message.flatten(0, 2)
        grad_message = linear(grad_projections, projection.t())
        if gate_share is not None:
            grad_message.addcmul_(gate_share, grad_gathered[:, :, None, :])
        grad_before = silu_backward(grad_message, before).flatten(0, 2)
        features = _features(distances, distance)
        first = _first(receiver, sender, features, distance)
        grad_second = grad_before.t() @ silu(first).flatten(0, 2)
        grad_first = silu_backward((grad_before @ second).view_as(first), first)
        grad_distances = linear(grad_first, distance.t())
        if features.shape != distances.shape:
            basis = features.unflatten(3, (distances.shape[3], -1))
            grad_distances = radial_basis_backward(grad_distances.view_as(basis), distances, basis)
        return (
            None,  # of `learns`
            None,  # of `edges`
            grad_first.sum(dim=2),
            grad_first.sum(dim=1),
            grad_distances,
            grad_first.flatten(0, 2).t() @ features.flatten(0, 2),
            grad_second,
            grad_before.sum(dim=0),
            grad_projection,
            grad_readout.sum(dim=0),
        )
