"""Properties of whole molecules from their atoms: the networks of the denoisers with another readout.

Legend: B molecules, N padded atoms, F features, P properties.
"""

from torch import Tensor, nn
from torch.nn.functional import pad

from ead_core.config import NetworkConfig
from ead_core.networks.backbones import build_backbone
from ead_core.networks.base import Backbone
from ead_core.networks.inputs import DenoiserInput

TYPICAL_ATOMS = 18.0  # of a QM9 molecule: keeps sums and means over atoms of one size


class Predictor(nn.Module):
    """Every atom contributes to a mean over atoms, for what does not grow with the molecule, and to a sum for the rest.

    Args:
        network: the backbone, with at least 2P feature channels.
        features: F.
        steps: T, the level that is fed to the network as time 1.
        properties: P.
    """

    def __init__(self, network: Backbone, features: int, steps: int, properties: int) -> None:
        super().__init__()
        self.network, self.steps, self.properties = network, steps, properties
        self.spare = max(features, 2 * properties) - features
        self.context = 0

    def forward(self, inputs: DenoiserInput) -> Tensor:
        """Predicted properties [B, P], in units of the training labels' deviation; levels are 0 for clean molecules."""
        z, mask = inputs.z, inputs.mask
        time, real = inputs.levels.to(z.dtype) / self.steps, mask[..., None].to(z.dtype)
        _, channels = self.network(z[..., :3], pad(z[..., 3:], (0, self.spare)), time, mask, None, inputs.draws)
        mean, total = (channels[..., : 2 * self.properties] * real).sum(dim=1).split(self.properties, dim=-1)
        return mean / real.sum(dim=1).clamp_min(1) + total / TYPICAL_ATOMS


def build_predictor(config: NetworkConfig, features: int, steps: int, properties: int) -> Predictor:
    """The predictor that a recipe's `network:` section describes, with fresh weights.

    Args:
        config: network section.
        features: F, feature channels per atom.
        steps: T.
        properties: P.
    """
    return Predictor(build_backbone(config, max(features, 2 * properties)), features, steps, properties)
