"""How a network is given an earlier estimate x̄ of the clean molecule (self-conditioning, Chen et al. 2022).

Every atom takes the features that x̄ gives it and its way to where x̄ puts it; a block of messages then passes over the
distances and directions of x̄. All of it starts at zero, so that a network with fresh weights ignores the estimate.

Legend: B molecules, N padded atoms, F features, H hidden features per atom, K vectors per atom.
"""

import torch
from torch import Tensor, nn

from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.networks.precision import no_autocast


class EstimateLayer(nn.Module):
    """The layers that an estimate passes before the first block of a network.

    Args:
        features: F.
        hidden: H.
        vectors: K.
        block: of messages, which starts as the identity; its arguments are for the network to give.
    """

    def __init__(self, features: int, hidden: int, vectors: int, block: nn.Module) -> None:
        super().__init__()
        self.features = nn.Linear(features, hidden, bias=False)
        self.way = nn.Linear(1, vectors, bias=False)
        self.block = block

    def zero_at_start(self) -> list[nn.Parameter]:
        """The layers in front of the block."""
        return [*self.features.parameters(), *self.way.parameters()]

    def enter(self, hidden: Tensor, x: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden features with those of the estimate [B, N, H], and multiples of each atom's way there [B, N, 3, K].

        Args:
            hidden: of the network [B, N, H].
            x: coordinates [B, N, 3].
            estimate: x̄ [B, N, 3 + F], in the frame of x.
        """
        with no_autocast(x):
            told = hidden + self.features(estimate[..., 3:] * ONE_HOT_SCALE)
            return told, self.way((estimate[..., :3] - x)[..., None])


def where_known(estimate: Tensor, told: tuple[Tensor, ...], otherwise: tuple[Tensor, ...]) -> list[Tensor]:
    """What the layer has made of each tensor, for molecules of which there is an estimate; it is zero for the others.

    Args:
        estimate: x̄ [B, N, 3 + F].
        told: with the estimate, each [B, …].
        otherwise: the same without it.
    """
    known = estimate.flatten(1).any(dim=1)
    return [
        torch.where(known.view(-1, *(1,) * (new.dim() - 1)), new, old) for new, old in zip(told, otherwise, strict=True)
    ]
