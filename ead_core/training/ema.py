"""Exponential moving average of the weights; sampling and evaluation always use it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """Shadow weights w̄ ← d·w̄ + (1 − d)·w with a warm-up d = min(decay, (n + 1) / (n + 10)).

    The warm-up forgets the random start quickly; EDM has none and needs many more steps.

    Args:
        model: its parameters are followed.
        decay: the final d.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the weights after optimiser step `step` (counted from 0)."""
        decay = min(self.decay, (step + 1) / (step + 10))
        current = [parameter.detach() for _, parameter in model.named_parameters()]
        torch._foreach_lerp_(list(self.weights.values()), current, 1 - decay)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from stored shadow weights."""
        for name, shadow in self.weights.items():
            shadow.copy_(weights[name])
