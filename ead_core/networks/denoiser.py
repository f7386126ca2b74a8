"""The noise predictor of EAD: a network that sees one time per atom (EAD eq 8)."""

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.molecules import centre
from ead_core.networks.egnn import Egnn
from ead_core.networks.egnn_rbf import EgnnRbf
from ead_core.networks.egnn_vector import EgnnVector


class Denoiser(nn.Module):
    """ε̂ = φ(z, t) with levels per atom; coordinates are a displacement without its centre of mass.

    Args:
        network: maps (x, h, time, mask) to (displacement, features).
        steps: T, the level that is fed to the network as time 1.
    """

    def __init__(self, network: Egnn | EgnnRbf | EgnnVector, steps: int) -> None:
        super().__init__()
        self.network = network
        self.steps = steps

    def forward(self, z: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """Predicted noise [B, N, 3 + F], zero where padded.

        Args:
            z: noised state [B, N, 3 + F].
            levels: integer levels [B, N].
            mask: real atoms [B, N].
        """
        time = levels.to(z.dtype) / self.steps
        displacement, features = self.network(z[..., :3], z[..., 3:], time, mask)
        return torch.cat([centre(displacement, mask), features * mask[..., None].to(z.dtype)], dim=-1)


def build_denoiser(config: NetworkConfig, features: int, steps: int) -> Denoiser:
    """The denoiser that a recipe's `network:` section describes, with fresh weights.

    Args:
        config: network section.
        features: F, feature channels per atom.
        steps: T.
    """
    hidden, layers, edge, vectors = config.hidden_features, config.layers, config.edge_features, config.vectors
    match config.kind:
        case "egnn":
            return Denoiser(Egnn(features, hidden, layers), steps)
        case "egnn_rbf":
            return Denoiser(EgnnRbf(features, hidden, layers, edge, vectors), steps)
        case "egnn_vector":
            return Denoiser(EgnnVector(features, hidden, layers, edge, vectors), steps)
