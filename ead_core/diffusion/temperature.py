"""Sampling at a lower temperature without further network calls: the predicted noise is scaled by a factor per level.

Temporal score rescaling (arXiv 2510.01184): ε̂ ← r ε̂ with r = (η w² + 1) / (η w² τ + 1), η = α² / σ² of the level, w a
width and τ the temperature. Of Gaussian data of width w this makes the exact noise of data whose variance is τ times
as large. What is narrower than w is sharpened by 1 / √τ, what is much wider stays as it is.

A move multiplies an error of a sharply defined quantity, in units of σ, by e^{Δ/2} (1 − r (1 − e^{−Δ})) with Δ its
step in log SNR. It does not overshoot as long as r ≤ 1 / (1 − e^{−Δ}), which bounds r, step by step; solvers of second
order are stable up to a little more.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.diffusion.grid import inside
from ead_core.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class ScoreRescaling:
    """Cooling by factors of the predicted noise.

    Attributes:
        temperature: τ, above 0; 1 changes nothing.
        width: w, in units of the scaled state.
        levels: between which shares of T.
    """

    temperature: float
    width: float
    levels: tuple[float, float] = (0.0, 1.0)

    def factors(self, schedule: NoiseSchedule, grid: Tensor) -> Tensor:
        """The factor r for the move from every step of the grid [R + 1], float64; at step 0 the bound is that of 1.

        Args:
            schedule: α and σ.
            grid: [R + 1] ascending levels.
        """
        gamma = schedule.gamma(grid)
        reach = self.width**2 * (-gamma).exp()
        factors = (reach + 1) / (self.temperature * reach + 1)
        bound = -1 / torch.expm1(-gamma.diff())
        bound = torch.cat([bound[:1], bound])
        return torch.where(inside(grid, self.levels, schedule.steps), factors.minimum(bound), 1.0)
