"""An EGNN that passes vectors: every atom carries a few directions beside its features, and the geometry stays put.

EDM's network moves the coordinates from block to block and sees directions through the moved distances alone. Here the
input's distances and directions serve all blocks (as radial basis functions and unit-like vectors), and what would be a
move goes into K vector channels per atom: sums of edge directions and of other atoms' vectors, the way of PaiNN (Schütt
et al. 2021). An edge also sees how both atoms' vectors point along it, which carries angles and torsions.

Legend: B molecules, N padded atoms, H hidden features per atom, E features per edge, K vectors per atom, R basis
functions.
"""

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.networks.base import atom_inputs
from ead_core.networks.egnn_rbf import (
    TIME_FREQUENCIES,
    EdgeBlock,
    ZeroUpdates,
    fourier_features,
    length,
    update_network,
)
from ead_core.networks.estimate import EstimateLayer, where_known
from ead_core.networks.pairs import Pairs
from ead_core.networks.precision import no_autocast
from ead_core.networks.radial import RADIAL_BASIS
from ead_core.networks.vector_edges import vector_edge_network

LONGEST = 5.0  # Å; what a block sees of a vector is bounded, else blocks could multiply their errors without end


class EgnnVectorBlock(EdgeBlock):
    """Messages over all pairs, then an update of features and vectors."""

    def __init__(self, hidden: int, edge: int, vectors: int) -> None:
        super().__init__(hidden, edge, RADIAL_BASIS + 2 * vectors, 1 + 2 * vectors)
        self.vectors = vectors
        self.mixing = nn.Linear(2 * vectors, 2 * vectors, bias=False)
        self.update_norm = nn.LayerNorm(hidden + edge + 3 * vectors)
        self.update = update_network(hidden + edge + 3 * vectors, hidden, hidden + 2 * vectors)

    def forward(self, h: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Advance features h [B, N, H] and vectors v [B, N, 3, K]."""
        seen = v / torch.sqrt(1 + (v**2).sum(dim=2, keepdim=True) / LONGEST**2)
        gathered, sums = vector_edge_network(pairs, self.ends(self.norm(h)), seen, self.edge_weights())
        known = torch.cat([seen, sums], dim=3)
        with no_autocast(v):
            left, right = self.mixing(known).split(self.vectors, dim=3)
        products = (left * right).sum(dim=2) / (1 + length(left, dim=2))
        everything = torch.cat([h, gathered, length(known, dim=2), products], dim=-1)
        change, mix, gate = self.update(self.update_norm(everything)).split(
            [h.shape[-1], self.vectors, self.vectors], dim=-1
        )
        return h + change, v + mix[:, :, None] * left + gate[:, :, None] * sums


class EgnnVector(ZeroUpdates):
    """The network of this module; arguments as of `Egnn`."""

    def __init__(self, config: NetworkConfig, features: int, context: int = 0) -> None:
        super().__init__(causal=config.messages == "causal")
        hidden, edge, vectors = config.hidden_features, config.edge_features, config.vectors
        self.floats_per_pair = max(2 * edge + 2 * vectors + 2 * RADIAL_BASIS, 6 * vectors + RADIAL_BASIS) + 24
        self.floats_per_atom = 7 * hidden + 8 * edge + 30 * vectors + 40
        self.vectors = vectors
        self.embed = nn.Linear(features + 2 * TIME_FREQUENCIES + 1 + context, hidden)
        self.blocks = nn.ModuleList(EgnnVectorBlock(hidden, edge, vectors) for _ in range(config.layers))
        self.norm = nn.LayerNorm(hidden)
        self.readout = nn.Linear(hidden, features)
        self.displacement = nn.Linear(vectors, 1, bias=False)
        if config.self_conditioning:
            self.estimate = EstimateLayer(features, hidden, vectors, EgnnVectorBlock(hidden, edge, vectors))

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
        with no_autocast(x):
            hidden = self.embed(atom_inputs(h * ONE_HOT_SCALE, fourier_features(time), context))
        direction = time if self.causal else None
        pairs, v = Pairs(x, mask, direction), x.new_zeros(*x.shape, self.vectors)
        if self.estimate is not None and estimate is not None:
            told = self.estimate.block(
                *self.estimate.enter(hidden, x, estimate), Pairs(estimate[..., :3], mask, direction)
            )
            hidden, v = where_known(estimate, told, (hidden, v))
        for block in self.blocks:
            hidden, v = block(hidden, v, pairs)
        with no_autocast(x):
            return self.displacement(v)[..., 0], self.readout(self.norm(hidden))
