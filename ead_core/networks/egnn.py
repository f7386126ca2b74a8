"""EDM's equivariant graph network on dense batches (EDM section 3.2; Satorras et al. 2021).

Every ordered pair of atoms is an edge. The first layer of each edge network is split: W [h_i, h_j, d, d0] =
W_a h_i + W_b h_j + W_d [d, d0], two products per atom instead of one per pair.

Legend: B molecules, N padded atoms, H hidden features.
"""

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.networks.base import MessagePassing, atom_inputs
from ead_core.networks.edges import EdgeWeights, edge_network
from ead_core.networks.pairs import edge_mask, pair_differences
from ead_core.networks.precision import no_autocast

COORDS_RANGE = 15.0  # the released code passes the undivided range to every block


class EdgeNetwork(nn.Module):
    """Two-layer SiLU network over all ordered pairs, which another module reads out."""

    def __init__(self, hidden: int, distance_features: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(2 * hidden + distance_features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.hidden = hidden

    def forward(self, h: Tensor, distances: Tensor, readout: nn.Linear, edges: Tensor | None) -> tuple[Tensor, Tensor]:
        """Readout of every edge and the gated sum over senders, see `edge_network`.

        Args:
            h: atom features [B, N, H].
            distances: distance features [B, N, N, D].
            readout: of an edge's features.
            edges: [B, N, N], one for pairs of different real atoms; None leaves out the sum.
        """
        receiver, sender, distance = self.first.weight.split(
            [self.hidden, self.hidden, self.first.in_features - 2 * self.hidden], dim=1
        )
        bias = h.new_zeros(readout.out_features) if readout.bias is None else readout.bias
        weights = EdgeWeights(distance, self.second.weight, self.second.bias, readout.weight, bias)
        gathers, sends = nn.functional.linear(h, receiver, self.first.bias), nn.functional.linear(h, sender)
        return edge_network(gathers, sends, distances, weights, edges)


class EgnnBlock(nn.Module):
    """One gated message step on the features, then one coordinate update with the new features."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.message = EdgeNetwork(hidden)
        self.gate = nn.Linear(hidden, 1)
        self.update = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.coordinate = EdgeNetwork(hidden)
        self.coordinate_weight = nn.Linear(hidden, 1, bias=False)
        nn.init.xavier_uniform_(self.coordinate_weight.weight, gain=0.001)

    def forward(self, h: Tensor, x: Tensor, initial: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Advance features h [B, N, H] and coordinates x [B, N, 3].

        Args:
            h: atom features.
            x: coordinates.
            initial: squared distances of the network's input [B, N, N].
            edges: [B, N, N], one for pairs of different real atoms.
        """
        difference, squared = pair_differences(x)
        distances = torch.stack([squared, initial], dim=-1)
        _, gathered = self.message(h, distances, self.gate, edges)
        h = h + self.update(torch.cat([h, gathered], dim=-1))
        direction = difference / (torch.sqrt(squared + 1e-8) + 1)[..., None]
        phi, _ = self.coordinate(h, distances, self.coordinate_weight, None)
        weight = torch.tanh(phi) * (COORDS_RANGE * edges[..., None])
        return h, x + (direction * weight).sum(dim=2)


class Egnn(MessagePassing):
    """EDM's dynamics network; time is one raw feature column per atom.

    Args:
        config: network section.
        features: F, channels per atom.
        context: channels that are the same for all atoms of a molecule.
    """

    blocks: nn.ModuleList

    def __init__(self, config: NetworkConfig, features: int, context: int = 0) -> None:
        super().__init__(causal=config.messages == "causal")
        hidden = config.hidden_features
        self.floats_per_pair, self.floats_per_atom = 2 * hidden + 20, 5 * hidden + 40
        self.embed = nn.Linear(features + 1 + context, hidden)
        self.blocks = nn.ModuleList(EgnnBlock(hidden) for _ in range(config.layers))
        self.readout = nn.Linear(hidden, features + 1)  # EDM's last output column (time) is never used

    def forward(
        self,
        x: Tensor,
        h: Tensor,
        time: Tensor,
        mask: Tensor,
        context: Tensor | None = None,
        draws: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Displacement and features of all atoms (see `Backbone`)."""
        edges = edge_mask(mask, x.dtype, time if self.causal else None)
        _, initial = pair_differences(x)
        with no_autocast(x):
            hidden, moved = self.embed(atom_inputs(h, time[..., None], context)), x
        for block in self.blocks:
            hidden, moved = block(hidden, moved, initial, edges)
        with no_autocast(x):
            return moved - x, self.readout(hidden)[..., :-1]
