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


def edge_mask(mask: Tensor, dtype: torch.dtype, time: Tensor | None = None) -> Tensor:
    """Edges [B, N, N] from different real atoms (last) to real atoms, as numbers.

    Args:
        mask: real atoms [B, N].
        dtype: of the result.
        time: [B, N]; if given, only atoms that are no noisier than the receiver send (causal messages).
    """
    pairs = mask[:, :, None] & mask[:, None, :]
    self_pairs = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    if time is not None:
        pairs = pairs & (time[:, None, :] <= time[:, :, None])
    return (pairs & ~self_pairs).to(dtype)


class Pairs:
    """Positions that stay put, and what PyTorch takes of their pairs, computed when first asked for.

    Args:
        x: positions [B, N, 3] in Å.
        mask: real atoms [B, N].
        time: as of `edge_mask`.
    """

    def __init__(self, x: Tensor, mask: Tensor, time: Tensor | None = None) -> None:
        self.x, self.mask, self.time = x, mask, time

    @cached_property
    def edges(self) -> Tensor:
        """[B, N, N], one where a message goes: between different real atoms, in one direction only if it is causal."""
        return edge_mask(self.mask, self.x.dtype, self.time)

    @property
    def direction(self) -> Tensor:
        """(x_i − x_j) / (d_ij + 1) [B, N, N, 3], zero between atoms of which one is padding."""
        return self._geometry[0]

    @property
    def radial(self) -> Tensor:
        """Basis functions of the distances [B, N, N, R]."""
        return self._geometry[1]

    @cached_property
    def _geometry(self) -> tuple[Tensor, Tensor]:
        difference, squared = pair_differences(self.x)
        distance = torch.sqrt(squared + 1e-8)
        real = edge_mask(self.mask, self.x.dtype)
        return difference * (real / (distance + 1))[..., None], radial_basis(distance, RADIAL_BASIS)
