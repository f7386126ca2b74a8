"""Has an atom settled? Tests of its last velocities, each a small function (EAD eq 13; which is meant [ASSUMPTION]).

Every test takes velocities [..., W], latest last, and a window w ≤ W, and returns [...]. Velocities that are equal
pass: with noise that never happens, and without it nothing would change by waiting.
"""

import torch
from torch import Tensor


def strict(velocities: Tensor, window: int) -> Tensor:
    """None of the last w exceeds the one before it: the paper's "monotonically decreasing"."""
    recent = velocities[..., -window:]
    return (recent[..., 1:] <= recent[..., :-1]).all(dim=-1)


def mean(velocities: Tensor, window: int) -> Tensor:
    """The latest is at most the mean of the last w."""
    recent = velocities[..., -window:]
    return recent[..., -1] <= recent.mean(dim=-1)


def slope(velocities: Tensor, window: int) -> Tensor:
    """The straight line through the last w, by least squares, does not rise."""
    recent = velocities[..., -window:]
    time = torch.arange(window, dtype=recent.dtype, device=recent.device)
    return ((time - time.mean()) * recent).sum(dim=-1) <= 0


def ema(velocities: Tensor, window: int) -> Tensor:
    """The latest is at most the exponential average, with smoothing 2/(w + 1), of all that are remembered before it."""
    keep = 1 - 2 / (window + 1)
    earlier = velocities[..., :-1]
    age = torch.arange(earlier.shape[-1] - 1, -1, -1, dtype=earlier.dtype, device=earlier.device)
    weights = keep**age * (earlier > 0)  # places not yet filled are zero
    average = (weights * earlier).sum(dim=-1) / weights.sum(dim=-1).clamp_min(1e-12)
    return velocities[..., -1] <= average


CONVERGENCE = {"strict": strict, "mean": mean, "slope": slope, "ema": ema}
