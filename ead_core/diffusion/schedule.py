"""Noise schedules, read at integer levels of any shape, and their table (method: EDM, appendix B)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.config import DiffusionConfig


@dataclass(frozen=True)
class Coefficients:
    """What one reverse move t → s needs, elementwise in the shape of the levels (EAD eq 6).

    With x̂ = (z_t − σ_t ε̂)/α_t the posterior mean is `mean_z · z_t − mean_eps · ε̂`, its deviation `noise`.
    `alpha_step`, `sigma_step` are α_{t|s} and σ_{t|s}, the way back up from s to t.
    """

    mean_z: Tensor
    mean_eps: Tensor
    noise: Tensor
    alpha_step: Tensor
    sigma_step: Tensor


def polynomial_2(steps: int, precision: float) -> NDArray[np.float64]:
    """EDM's schedule: f(t) = (1 − (t/T')²)² on its own grid (T' = T + 1, spacing (T+1)/T).

    The steps of f are clipped at a ratio of 0.001, and it is squeezed into [s, 1 − s]; the released code applies the
    precision s to α².
    """
    grid = np.linspace(0, steps + 1, steps + 1)
    signal = (1 - (grid / (steps + 1)) ** 2) ** 2
    ratios = np.clip(signal / np.concatenate([[1.0], signal[:-1]]), 0.001, 1.0)
    return (1 - 2 * precision) * np.cumprod(ratios) + precision


SCHEDULES: dict[str, Callable[[int, float], NDArray[np.float64]]] = {"polynomial_2": polynomial_2}


class NoiseSchedule:
    """α and σ at levels 0 … T with α² + σ² = 1.

    Args:
        steps: T.
        precision: s, the least of α² and of σ².
        squared_signal: α² [T + 1] of T and s, falling; a value of `SCHEDULES`.
    """

    def __init__(
        self,
        steps: int = 1000,
        precision: float = 1e-5,
        squared_signal: Callable[[int, float], NDArray[np.float64]] = polynomial_2,
    ) -> None:
        self.steps = steps
        self._alpha2 = torch.from_numpy(squared_signal(steps, precision))
        self._alpha = self._alpha2.sqrt()
        self._sigma = (1 - self._alpha2).sqrt()

    def alpha(self, levels: Tensor) -> Tensor:
        """α at integer levels, same shape, float64."""
        return self._alpha.to(levels.device)[levels]

    def sigma(self, levels: Tensor) -> Tensor:
        """σ at integer levels, same shape, float64."""
        return self._sigma.to(levels.device)[levels]

    def gamma(self, levels: Tensor) -> Tensor:
        """γ = −log SNR at integer levels, same shape, float64."""
        return 2 * (self.sigma(levels).log() - self.alpha(levels).log())

    def reverse(self, t: Tensor, s: Tensor) -> Coefficients:
        """Coefficients of the exact reverse move from levels t to s ≤ t; where s = t the move is the identity."""
        alpha_s, sigma_s, sigma_t = self.alpha(s), self.sigma(s), self.sigma(t)
        alpha_step = self.alpha(t) / alpha_s
        variance_step = (1 - alpha_step**2).clamp_min(0)
        return Coefficients(
            mean_z=1 / alpha_step,
            mean_eps=variance_step / (alpha_step * sigma_t),
            noise=variance_step.sqrt() * sigma_s / sigma_t,
            alpha_step=alpha_step,
            sigma_step=variance_step.sqrt(),
        )

    def transport(self, t: Tensor, s: Tensor) -> Coefficients:
        """Coefficients of the deterministic map from t to s ≤ t: z_s = α_s x̂ + σ_s ε̂ (DDIM with η = 0)."""
        reverse = self.reverse(t, s)
        mean_z = self.alpha(s) / self.alpha(t)
        mean_eps = mean_z * self.sigma(t) - self.sigma(s)
        return replace(reverse, mean_z=mean_z, mean_eps=mean_eps, noise=torch.zeros_like(mean_z))

    def renoise(self, t: Tensor, s: Tensor) -> Coefficients:
        """Coefficients of the move from t to s < t that keeps x̂ alone: z_s = α_s x̂ + σ_s ξ; the identity if s = t."""
        reverse, moves = self.reverse(t, s), t > s
        mean_z = self.alpha(s) / self.alpha(t)
        mean_eps = torch.where(moves, mean_z * self.sigma(t), 0.0)
        return replace(reverse, mean_z=mean_z, mean_eps=mean_eps, noise=torch.where(moves, self.sigma(s), 0.0))


def build_schedule(config: DiffusionConfig) -> NoiseSchedule:
    """The schedule that a recipe's `diffusion:` section describes."""
    return NoiseSchedule(config.steps, config.precision, SCHEDULES[config.schedule])
