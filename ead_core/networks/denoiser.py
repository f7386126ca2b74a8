"""The noise predictor of EAD: a network that sees one time per atom (EAD eq 8)."""

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.data.tensors import centre
from ead_core.networks.egnn import Egnn
from ead_core.networks.egnn_rbf import EgnnRbf
from ead_core.networks.egnn_vector import EgnnVector

Network = Egnn | EgnnRbf | EgnnVector


class Denoiser(nn.Module):
    """ε̂ = φ(z, t) with levels per atom; coordinates are a displacement without its centre of mass.

    Args:
        network: maps (x, h, time, mask) and its context, if it has one, to (displacement, features).
        steps: T, the level that is fed to the network as time 1.
        context: 2P, channels that say something of the molecule as a whole (diffusion/context.py); 0 for none.
    """

    def __init__(self, network: Network, steps: int, context: int = 0) -> None:
        super().__init__()
        self.network = network
        self.steps = steps
        self.context = context

    def forward(self, z: Tensor, levels: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """Predicted noise [B, N, 3 + F], zero where padded.

        Args:
            z: noised state [B, N, 3 + F].
            levels: integer levels [B, N].
            mask: real atoms [B, N].
            context: [B, 2P]; None is all unknown.
        """
        time = levels.to(z.dtype) / self.steps
        displacement, features = self.network(z[..., :3], z[..., 3:], time, mask, *self._told(z, context))
        return torch.cat([centre(displacement, mask), features * mask[..., None].to(z.dtype)], dim=-1)

    def _told(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        """The context of every atom [B, N, 2P], if the network takes one."""
        if not self.context:
            return ()
        context = z.new_zeros(len(z), self.context) if context is None else context.to(z.dtype)
        return (context[:, None, :].expand(-1, z.shape[1], -1),)


def build_denoiser(config: NetworkConfig, features: int, steps: int, context: int = 0) -> Denoiser:
    """The denoiser that a recipe's `network:` section describes, with fresh weights.

    Args:
        config: network section.
        features: F, feature channels per atom.
        steps: T.
        context: 2P, context channels per molecule.
    """
    return Denoiser(build_network(config, features, context), steps, context)


def build_network(config: NetworkConfig, features: int, context: int = 0) -> Network:
    """The network that a recipe's section describes; arguments as of `build_denoiser`."""
    hidden, layers, edge, vectors = config.hidden_features, config.layers, config.edge_features, config.vectors
    network: Network
    match config.kind:
        case "egnn":
            network = Egnn(features, hidden, layers, context)
        case "egnn_rbf":
            network = EgnnRbf(features, hidden, layers, edge, vectors, context)
        case "egnn_vector":
            network = EgnnVector(features, hidden, layers, edge, vectors, context)
    network.causal = config.messages == "causal"
    return network
