"""The work on pairs of atoms in the network that passes vectors, in one differentiable operation.

Legend: B molecules, N padded atoms, E features per edge, K vectors per atom, R basis functions of a distance.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from ead_core.networks.edges import EdgeWeights, edge_network
from ead_core.networks.native.vector_edges import native_suits, native_vector_edges
from ead_core.networks.pairs import Pairs
from ead_core.networks.precision import autocasts_bf16, no_autocast
from ead_core.networks.radial import RADIAL_BASIS

PASSED_SCALE = 1 / 8  # keeps the sum over some twenty neighbours' vectors of the order of one of them


def vector_edge_network(pairs: Pairs, ends: Tensor, seen: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
    """Messages m_ij as in `edge_network`, with two sums over senders: gated messages, and vectors.

    The first layer takes the basis functions of d_ij and how both atoms' vectors point along the edge: their components
    in its direction n_ij = (x_i − x_j) / (d_ij + 1). Projections of a message are its gate and, for every vector,
    factors a of n_ij and b of the sender's vector. Computed by a compiled operation (`native_vector_edges.py`) where
    there is one for these inputs, else by PyTorch.

    Args:
        pairs: positions and edges.
        ends: contributions to the first layer of the atom that gathers, bias included, and of the one that sends, side
            by side [B, N, 2E].
        seen: vectors [B, N, 3, K].
        weights: of all layers; `distance` is [E, R + 2K] and `projection` [1 + 2K, E].

    Returns:
        Σ_j σ_ij m_ij [B, N, E], and Σ_j (a_ij n_ij + b_ij seen_j / 8) [B, N, 3, K].
    """
    exact = ends.to(seen.dtype)  # not what they are under autocast, as in `edge_network`
    if pairs.time is None and native_suits(pairs.x, [exact, seen, *vars(weights).values()]):
        return _compiled(pairs, exact, seen, weights)
    return _in_pytorch(pairs, ends, seen, weights)


def _in_pytorch(pairs: Pairs, ends: Tensor, seen: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
    """All of it with tensors of pairs."""
    receiver, sender = ends.chunk(2, dim=-1)
    readout, gathered = edge_network(receiver, sender, _features(pairs, seen), weights, pairs.edges)
    of_direction, of_vector = (readout[..., 1:] * pairs.edges[..., None]).chunk(2, dim=-1)
    with no_autocast(seen):
        passed = torch.einsum("bijk,bjck->bick", of_vector, seen)
        return gathered, pairs.direction.transpose(2, 3) @ of_direction + PASSED_SCALE * passed


def _features(pairs: Pairs, seen: Tensor) -> Tensor:
    """What the first layer takes of an edge [B, N, N, R + 2K]."""
    with no_autocast(seen):
        receiving = pairs.direction @ seen
        sending = (pairs.direction.transpose(1, 2) @ seen).transpose(1, 2)
    return torch.cat([pairs.radial, receiving, sending], dim=-1)


def _compiled(pairs: Pairs, ends: Tensor, seen: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
    """What is linear in the direction takes its weights per atom, before and after the compiled operation."""
    vectors = seen.shape[3]
    radial, receiving, sending = weights.distance.t().split([RADIAL_BASIS, vectors, vectors])
    gate, of_direction, of_vector = weights.projection.split([1, vectors, vectors])
    gate_bias, direction_bias, vector_bias = weights.projection_bias.split([1, vectors, vectors])
    half = autocasts_bf16(seen)
    with no_autocast(seen):
        along = seen @ torch.cat([receiving, sending], dim=1)
        readout, bias = torch.cat([of_vector, gate]), torch.cat([vector_bias, gate_bias])
        gathered, gathered_along, passed, directions = native_vector_edges(
            half, pairs.x, pairs.mask, ends, along, seen, radial, weights.second, weights.second_bias, readout, bias
        )
        turned = torch.addcmul(linear(gathered_along, of_direction), directions[..., None], direction_bias)
        return gathered, torch.add(turned, passed, alpha=PASSED_SCALE)
