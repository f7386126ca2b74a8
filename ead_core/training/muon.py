"""Muon with float32 arithmetic on matrices of equal shape at once.

torch's own orthogonalises one matrix after another in bfloat16, which it multiplies twenty times slower than float32 on
CPUs without AVX-512: three quarters of a training step (docs/decisions/001-muon.md).
"""

from collections.abc import Callable, Iterable, Sequence
from math import sqrt

import torch
from torch import Tensor

from ead_core.training.without_compiler import WithoutCompiler

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration (Jordan et al. 2024)
ITERATIONS = 5
SMALLEST_NORM = 1e-7
Divide = Callable[[Callable[[Tensor], Tensor], Sequence[Tensor]], list[Tensor]]


def by_itself(work: Callable[[Tensor], Tensor], stacks: Sequence[Tensor]) -> list[Tensor]:
    """`work` on every stack, with nobody to share it."""
    return [work(stack) for stack in stacks]


class Muon(WithoutCompiler):
    """Momentum, orthogonalised: every matrix moves by nearly equal amounts in all of its singular directions.

    The same update as `torch.optim.Muon` up to rounding, with the same names in its state.

    Args:
        parameters: matrices, each [rows, columns].
        lr: step along an orthogonal matrix; times √(rows / columns) where that is above 1.
        weight_decay: per step, relative to `lr`.
        divide: applies a function to stacks of matrices, see `Workers.divide`.
        momentum: share of the momentum that is kept.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        divide: Divide = by_itself,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._divide = divide

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(matrix.shape, []).append(matrix)
            stacks = [self._momentum(matrices, group["momentum"]) for matrices in alike.values()]
            moves = self._divide(orthogonalised, stacks)
            for ((rows, columns), matrices), move in zip(alike.items(), moves, strict=True):
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, move.unbind(), alpha=-group["lr"] * sqrt(max(1, rows / columns)))

    def _momentum(self, matrices: list[Tensor], kept: float) -> Tensor:
        """Nesterov's look ahead [M, rows, columns] after the buffers have added the gradients."""
        for matrix in matrices:
            self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix))
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        torch._foreach_lerp_(buffers, gradients, 1 - kept)
        return torch.stack(gradients).lerp(torch.stack(buffers), kept)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices [M, rows, columns] with all singular values brought near 1, by Newton and Schulz's iteration."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(SMALLEST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
