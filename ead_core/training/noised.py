"""Noised molecules of a training step, and what a network makes of them.

Legend: B molecules, N padded atoms, F features.
"""

from dataclasses import dataclass

from torch import Tensor

from ead_core.diffusion.corruption import Corrupted
from ead_core.diffusion.gauge import Gauge
from ead_core.diffusion.parametrisation import clean
from ead_core.networks.inputs import DenoiserFunction, DenoiserInput


@dataclass(frozen=True)
class Noised:
    """The molecules of one worker.

    Attributes:
        corrupted: their noised states, the noise and the levels.
        inputs: what the network is given, but for an estimate.
        learned: [B, N] atoms that are to be denoised.
        gauge: what is free of the states.
        denoiser: the network in training, which gives ε̂.
    """

    corrupted: Corrupted
    inputs: DenoiserInput
    learned: Tensor
    gauge: Gauge
    denoiser: DenoiserFunction

    def predict(self, inputs: DenoiserInput) -> Tensor:
        """ε̂ [B, N, 3 + F] as far as it can be told from the states."""
        return self.gauge.project_noise(self.denoiser(inputs), inputs.levels, inputs.mask)

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """α and σ of every atom [B, N, 1]."""
        schedule, levels, like = self.gauge.schedule, self.corrupted.levels, self.corrupted.z
        return schedule.alpha(levels)[..., None].to(like.dtype), schedule.sigma(levels)[..., None].to(like.dtype)

    def clean(self, eps: Tensor) -> Tensor:
        """x̂ [B, N, 3 + F] of a predicted noise."""
        return self.gauge.centred(clean(eps, self.corrupted.z, *self.coefficients()), self.inputs.mask)

    def mean_level(self) -> Tensor:
        """Of the atoms that are to be denoised [B]."""
        return (self.corrupted.levels * self.learned).sum(dim=1) / self.learned.sum(dim=1)
