"""A transformer that treats coordinates as features (the DiT of SymDiff, arXiv 2410.06262, and of GDM).

It is not equivariant: what it predicts turns with a molecule only as far as it has learned to. `network.symmetrise`
makes an equivariant random network of it. Nothing tells it the order of the atoms. Unlike SymDiff's, it has a time per
atom, Gaussians of distances without their normalisation, and octaves of the time. Half of a token is made of the
coordinates and features of its atom, half of the distances to the others.

Legend: B molecules, N padded atoms, H hidden features.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.data.tensors import ONE_HOT_SCALE, about
from ead_core.networks.base import MessagePassing, atom_inputs
from ead_core.networks.precision import no_autocast
from ead_core.networks.transformer import Surroundings, TimeEmbedding, Transformer, connections, floats_held, modulated


class Dit(MessagePassing):
    """The network of this module; arguments as of `Egnn`."""

    equivariant: ClassVar[bool] = False
    blocks: Transformer

    def __init__(self, config: NetworkConfig, features: int, context: int = 0) -> None:
        super().__init__(causal=config.messages == "causal")
        hidden = config.hidden_features
        self.floats_per_pair, self.floats_per_atom = floats_held(config.edge_features, hidden)
        self.features = features
        self.embed = nn.Linear(features + 3 + context, hidden // 2)
        self.surroundings = Surroundings(config.edge_features, hidden - hidden // 2)
        self.time = TimeEmbedding(hidden)
        self.blocks = Transformer(hidden, config.layers, config.heads, config.modulation)
        self.norm = nn.LayerNorm(hidden, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(hidden, 2 * hidden)
        self.readout = nn.Linear(hidden, features + 3)

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
        attends, embedded = connections(mask, time if self.causal else None), self.time(time)
        with no_autocast(x):
            x = about(x, self._origin(time, mask))
            own = self.embed(atom_inputs(h * ONE_HOT_SCALE, x, context))
        tokens = self.blocks(torch.cat([own, self.surroundings(x, attends)], dim=-1), embedded, attends)
        shift, scale = self.modulation(embedded).chunk(2, dim=-1)
        with no_autocast(x):
            out = self.readout(modulated(self.norm(tokens.to(x.dtype)), shift.to(x.dtype), scale.to(x.dtype)))
        return out[..., self.features :], out[..., : self.features]

    def _origin(self, time: Tensor, mask: Tensor) -> Tensor:
        """The atoms [B, N] whose centroid is the origin: with causal messages, those that everybody hears."""
        if not self.causal:
            return mask
        least = time.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
        return mask & (time <= least)

    def zero_at_start(self) -> list[nn.Parameter]:
        """The last layer, and what makes the gates of the blocks, which start as the identity."""
        return [*self.blocks.zero_at_start(), *self.modulation.parameters(), *self.readout.parameters()]
