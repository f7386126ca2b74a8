"""Ordered pairs of atoms: differences of positions, and which pairs are edges.

Legend: B molecules, N padded atoms, R basis functions.
"""

from functools import cached_property

import torch
from torch import Tensor

from ead_core.networks.radial import RADIAL_BASIS, radial_basis


def pair_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences x_i − x_j [B, N, N, 3] and squared distances [B, N, N]."""
    difference = x[:, :, None, :] - x[:, None, :, :]
    return difference, (difference**2).sum(dim=-1)


def edge_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Edges [B, N, N] between different real atoms, as numbers."""
    pairs = mask[:, :, None] & mask[:, None, :]
    self_pairs = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return (pairs & ~self_pairs).to(dtype)


class Pairs:
    """Positions that stay put, and what PyTorch takes of their pairs, computed when first asked for.

    Args:
        x: positions [B, N, 3] in Å.
        mask: real atoms [B, N].
    """

    def __init__(self, x: Tensor, mask: Tensor) -> None:
        self.x, self.mask = x, mask

    @cached_property
    def edges(self) -> Tensor:
        """[B, N, N], one for pairs of different real atoms."""
        return edge_mask(self.mask, self.x.dtype)

    @property
    def direction(self) -> Tensor:
        """(x_i − x_j) / (d_ij + 1) [B, N, N, 3], zero between atoms that are no edge."""
        return self._geometry[0]

    @property
    def radial(self) -> Tensor:
        """Basis functions of the distances [B, N, N, R]."""
        return self._geometry[1]

    @cached_property
    def _geometry(self) -> tuple[Tensor, Tensor]:
        difference, squared = pair_differences(self.x)
        distance = torch.sqrt(squared + 1e-8)
        return difference * (self.edges / (distance + 1))[..., None], radial_basis(distance, RADIAL_BASIS)
