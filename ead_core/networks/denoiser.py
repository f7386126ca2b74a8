"""The denoiser of EAD: a network that sees one time per atom (EAD eq 8)."""

import torch
from torch import Tensor, nn

from ead_core.config import NetworkConfig
from ead_core.data.tensors import centre
from ead_core.networks.backbones import build_backbone
from ead_core.networks.base import Backbone
from ead_core.networks.inputs import DenoiserInput


class Denoiser(nn.Module):
    """A backbone with its time and context prepared, and with coordinates that keep their centre of mass.

    Args:
        network: the backbone, with F feature channels.
        steps: T, the level that is fed to the network as time 1.
        context: 2P, channels that say something of the molecule as a whole (diffusion/context.py); 0 for none.
        self_conditioning: whether the backbone is given the estimate of the input.
    """

    def __init__(self, network: Backbone, steps: int, context: int = 0, self_conditioning: bool = False) -> None:
        super().__init__()
        self.network = network
        self.steps = steps
        self.context = context
        self.self_conditioning = self_conditioning

    def forward(self, inputs: DenoiserInput) -> Tensor:
        """The output [B, N, 3 + F], zero where padded; what it means says `diffusion.parametrisation`."""
        z, mask = inputs.z, inputs.mask
        time, context = inputs.levels.to(z.dtype) / self.steps, None
        if self.context:
            known = inputs.context
            context = z.new_zeros(len(z), self.context) if known is None else known.to(z.dtype)
        told: dict[str, Tensor] = {}
        if self.self_conditioning:
            told["estimate"] = torch.zeros_like(z) if inputs.estimate is None else inputs.estimate
        displacement, features = self.network(z[..., :3], z[..., 3:], time, mask, context, inputs.draws, **told)
        return torch.cat([centre(displacement, mask), features * mask[..., None].to(z.dtype)], dim=-1)


def build_denoiser(config: NetworkConfig, features: int, steps: int, context: int = 0) -> Denoiser:
    """The denoiser that a recipe's `network:` section describes, with fresh weights.

    Args:
        config: network section.
        features: F, feature channels per atom.
        steps: T.
        context: 2P, context channels per molecule.
    """
    return Denoiser(build_backbone(config, features, context), steps, context, config.self_conditioning)
