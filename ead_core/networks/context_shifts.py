"""Telling every block, not the first layer alone, what is known of a molecule (`network.context=blocks`).

Legend: B molecules, N padded atoms, C context channels, H hidden features per atom.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ead_core.precision import exactly


class ContextShifts(nn.Module):
    """A shift of the features of all atoms before each block, by a small network; zero as long as nothing is learnt.

    Args:
        context: C.
        hidden: H.
        layers: number of blocks.
    """

    def __init__(self, context: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.first = nn.Linear(context, hidden)
        self.second = nn.Linear(hidden, layers * hidden)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, context: Tensor) -> Sequence[Tensor]:
        """For each block a shift [B, 1, H], from the context of every atom [B, N, C], equal within a molecule."""
        with exactly(context):
            shifts = self.second(torch.nn.functional.silu(self.first(context[:, :1])))
        return tuple(shifts.chunk(self.layers, dim=-1))


def shifted(features: Tensor, shifts: Sequence[Tensor], block: int) -> Tensor:
    """The features [B, N, H] that a block takes; `shifts` is empty if the blocks are told nothing."""
    return features + shifts[block] if shifts else features
