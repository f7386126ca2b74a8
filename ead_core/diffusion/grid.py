"""Which levels a run of fewer than T steps visits (DDIM, Song et al. 2021: linear or quadratic)."""

import torch
from torch import Tensor

POWERS = {"even": 1, "quadratic": 2}


def sampling_grid(levels: int, steps: int, kind: str = "even") -> Tensor:
    """Strictly ascending integer levels [steps + 1] from 0 to T = `levels`, grid step i near T·(i / steps)^power.

    `quadratic` is denser near the clean end. Where it asks for strides below one level, they are one level, until the
    grid has caught up with its curve. With `steps` = T both kinds are the full grid.

    Args:
        levels: T.
        steps: 1 … T.
        kind: a key of `POWERS`.
    """
    even = torch.linspace(0, levels, steps + 1, dtype=torch.float64)
    wanted = (even * (even / levels) ** (POWERS[kind] - 1)).round().long()
    grid_index = torch.arange(steps + 1)
    return (wanted - grid_index).cummax(dim=0).values.clamp_max(levels - steps) + grid_index


def resting_grid(level: int, steps: int) -> Tensor:
    """The level `steps` times and then 0, ascending [steps + 1]: all steps but the last stay where they are."""
    return torch.tensor([0, *[level] * steps])


def inside(levels: Tensor, window: tuple[float, float], top: int) -> Tensor:
    """Whether levels, of any shape, are within a lower and a higher share of T = `top`, ends included."""
    low, high = (share * top for share in window)
    return (levels >= low) & (levels <= high)
