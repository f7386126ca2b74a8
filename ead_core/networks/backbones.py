"""The table of backbones: what `network.kind` may be."""

from collections.abc import Callable

from torch import nn

from ead_core.config import NetworkConfig
from ead_core.errors import ConfigError
from ead_core.networks.base import Backbone
from ead_core.networks.dit import Dit
from ead_core.networks.egnn import Egnn
from ead_core.networks.egnn_rbf import EgnnRbf
from ead_core.networks.egnn_vector import EgnnVector
from ead_core.networks.symmetrised import SYMMETRISATIONS

# From the recipe's section, F feature channels per atom and 2P context channels per molecule.
BACKBONES: dict[str, Callable[[NetworkConfig, int, int], Backbone]] = {
    "egnn": Egnn,
    "egnn_rbf": EgnnRbf,
    "egnn_vector": EgnnVector,
    "dit": Dit,
}


def build_backbone(config: NetworkConfig, features: int, context: int = 0) -> Backbone:
    """The network that a recipe's section describes, with fresh weights.

    Args:
        config: network section.
        features: F, feature channels per atom.
        context: 2P, context channels per molecule.

    Raises:
        ConfigError: `network.self_conditioning` with a network that cannot be given an estimate.
    """
    backbone = SYMMETRISATIONS[config.symmetrise](BACKBONES[config.kind](config, features, context), config)
    if config.self_conditioning and not backbone.takes_estimate:
        raise ConfigError(f"network.self_conditioning needs another network.kind than {config.kind}.")
    for parameter in backbone.zero_at_start():
        nn.init.zeros_(parameter)
    return backbone
