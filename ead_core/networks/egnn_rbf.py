"""A better conditioned EGNN: the same equivariant scheme, built to learn in few optimiser steps.

What differs from EDM's network and why: distances enter as radial basis functions of d / (d + 3), which stay
bounded; features are normalised before every edge and update network; time enters as Fourier features; one
edge network per block serves messages and coordinates; each block gathers several weighted direction sums
per atom, whose lengths and products inform the update network about angles.

Legend: B molecules, N padded atoms, H hidden features per atom, E features per edge, K direction sums,
R basis functions.
"""

import math

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.networks.base import MessagePassing, atom_inputs, larger_matrices
from ead_core.networks.edges import EdgeWeights, edge_network
from ead_core.networks.estimate import EstimateLayer, where_known
from ead_core.networks.pairs import edge_mask, pair_differences
from ead_core.networks.precision import no_autocast
from ead_core.networks.radial import RADIAL_BASIS

TIME_FREQUENCIES = 8


def fourier_features(time: Tensor, count: int = TIME_FREQUENCIES) -> Tensor:
    """t itself, and sine and cosine of octaves of πt: [...] → [..., 2·count + 1]."""
    angles = time[..., None] * (math.pi * 2.0 ** torch.arange(count, device=time.device)).to(time.dtype)
    return torch.cat([time[..., None], angles.sin(), angles.cos()], dim=-1)


class EdgeBlock(nn.Module):
    """What the blocks of both variants share: the layers of the edge network, which takes normalised features.

    Args:
        hidden: H.
        edge: E.
        distances: features of a pair that enter the first layer.
        readouts: projections of an edge, the gate first.
    """

    def __init__(self, hidden: int, edge: int, distances: int, readouts: int) -> None:
        super().__init__()
        self.edge = edge
        self.norm = nn.LayerNorm(hidden)
        self.ends = nn.Linear(hidden, 2 * edge)
        self.distance = nn.Linear(distances, edge, bias=False)
        self.second = nn.Linear(edge, edge)
        self.weights = nn.Linear(edge, readouts)

    def edge_weights(self) -> EdgeWeights:
        """The weights of the edge network, but for `ends`."""
        second, readout = self.second, self.weights
        return EdgeWeights(self.distance.weight, second.weight, second.bias, readout.weight, readout.bias)


def update_network(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers, of which the last one starts at zero."""
    return nn.Sequential(nn.Linear(width, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, outputs))


def length(v: Tensor, dim: int) -> Tensor:
    """|v| of vectors whose components lie along `dim`, with a gradient at zero."""
    return torch.sqrt((v**2).sum(dim=dim) + 1e-8)


class EgnnRbfBlock(EdgeBlock):
    """Messages over all pairs, then an update of features and coordinates."""

    def __init__(self, hidden: int, edge: int, vectors: int) -> None:
        super().__init__(hidden, edge, 2 * RADIAL_BASIS, 1 + vectors)
        self.vectors = vectors
        self.update_norm = nn.LayerNorm(hidden + edge + 2 * vectors)
        self.update = update_network(hidden + edge + 2 * vectors, hidden, hidden + vectors)

    def forward(self, h: Tensor, x: Tensor, initial: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Advance features h [B, N, H] and coordinates x [B, N, 3]; arguments as in `EgnnBlock`, but not squared."""
        difference, squared = pair_differences(x)
        distance = torch.sqrt(squared + 1e-8)
        receiver, sender = self.ends(self.norm(h)).split(self.edge, dim=-1)
        distances = torch.stack([distance, initial], dim=-1)
        readout, gathered = edge_network(receiver, sender, distances, self.edge_weights(), edges)
        weight = readout[..., 1:].to(x.dtype)
        direction = difference * (edges / (distance + 1))[..., None]
        with no_autocast(x):
            sums = weight.transpose(2, 3) @ direction  # [B, N, K, 3]
        lengths = length(sums, dim=-1)
        products = (sums * sums.roll(1, dims=2)).sum(dim=-1) / (lengths + 1)
        everything = torch.cat([h, gathered, lengths, products], dim=-1)
        change, mix = self.update(self.update_norm(everything)).split([h.shape[-1], self.vectors], dim=-1)
        return h + change, x + (mix[..., None] * sums).sum(dim=2)


class ZeroUpdates(MessagePassing):
    """Base of both variants, whose blocks start as the identity, and which can be given an estimate.

    Attributes:
        estimate: what an estimate passes first, with a block of the same kind; None without `self_conditioning`.
    """

    takes_estimate: bool = True

    def __init__(self, causal: bool) -> None:
        super().__init__(causal)
        self.estimate: EstimateLayer | None = None

    @property
    def estimate_layer(self) -> nn.Linear | None:
        """That of the estimate's features, with `self_conditioning`."""
        return None if self.estimate is None else self.estimate.features

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The larger matrices of all blocks."""
        own = [] if self.estimate is None else larger_matrices(self.estimate.block)
        return [*super().hidden_matrices(), *own]

    blocks: nn.ModuleList

    def zero_at_start(self) -> list[nn.Parameter]:
        """The last layer of every block's update, so that every block starts as the identity, and the estimate's."""
        blocks, own = [*self.blocks], []
        if self.estimate is not None:
            blocks, own = [*blocks, self.estimate.block], self.estimate.zero_at_start()
        return [*own, *(p for block in blocks for p in block.get_submodule("update.2").parameters())]


class EgnnRbf(ZeroUpdates):
    """The network of this module; arguments as of `Egnn`."""

    def __init__(self, config: NetworkConfig, features: int, context: int = 0) -> None:
        super().__init__(causal=config.messages == "causal")
        hidden, edge, vectors = config.hidden_features, config.edge_features, config.vectors
        self.floats_per_pair = max(2 * edge + vectors, edge + 2 * RADIAL_BASIS) + 20
        self.floats_per_atom = 7 * hidden + 4 * edge + 8 * vectors + 40
        self.embed = nn.Linear(features + 2 * TIME_FREQUENCIES + 1 + context, hidden)
        self.blocks = nn.ModuleList(EgnnRbfBlock(hidden, edge, vectors) for _ in range(config.layers))
        self.norm = nn.LayerNorm(hidden)
        self.readout = nn.Linear(hidden, features)
        if config.self_conditioning:
            self.estimate = EstimateLayer(features, hidden, 1, EgnnRbfBlock(hidden, edge, vectors))

    def forward(
        self,
        x: Tensor,
        h: Tensor,
        time: Tensor,
        mask: Tensor,
        context: Tensor | None = None,
        draws: Tensor | None = None,
        estimate: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Displacement and features of all atoms (see `Backbone`)."""
        edges = edge_mask(mask, x.dtype, time if self.causal else None)
        _, squared = pair_differences(x)
        initial = torch.sqrt(squared + 1e-8)
        with no_autocast(x):
            hidden, moved = self.embed(atom_inputs(h * ONE_HOT_SCALE, fourier_features(time), context)), x
        if self.estimate is not None and estimate is not None:
            told, way = self.estimate.enter(hidden, x, estimate)
            told, there = self.estimate.block(told, estimate[..., :3], initial, edges)
            towards = x + (way[..., 0] + (there - estimate[..., :3]))
            hidden, moved = where_known(estimate, (told, towards), (hidden, moved))
        for block in self.blocks:
            hidden, moved = block(hidden, moved, initial, edges)
        with no_autocast(x):
            return moved - x, self.readout(self.norm(hidden))
