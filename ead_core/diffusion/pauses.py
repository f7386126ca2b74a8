"""What happens to an atom that pauses: the table of what `sampler.pause_mode` may be.

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Lift = Callable[[Tensor], Tensor]  # takes a state one grid step down back up, with fresh noise


@dataclass(frozen=True)
class PauseMode:
    """A way to pause.

    Attributes:
        apply: the new state [B, N, 3 + F] from the present one, the move of every atom, the mask [B, N] of those who
            pause, and the way back up.
        still: whether paused atoms do not move at all.
    """

    apply: Callable[[Tensor, Tensor, Tensor, Lift], Tensor]
    still: bool = False


def _repeat(z: Tensor, end: Tensor, paused: Tensor, lift: Lift) -> Tensor:
    """A paused atom takes the move but not the lower level: it is denoised there again."""
    return end


def _renoise(z: Tensor, end: Tensor, paused: Tensor, lift: Lift) -> Tensor:
    """A paused atom takes the move and is brought back up to its level."""
    return torch.where(paused[..., None], lift(end), end)


def _hold(z: Tensor, end: Tensor, paused: Tensor, lift: Lift) -> Tensor:
    """A paused atom stays as it is."""
    return torch.where(paused[..., None], z, end)


PAUSES = {"repeat": PauseMode(_repeat), "renoise": PauseMode(_renoise), "hold": PauseMode(_hold, still=True)}
