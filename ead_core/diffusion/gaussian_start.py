"""Beginning below the top: at high levels noised molecules are nearly Gaussian, so that a Gaussian can stand for them.

The Gaussian has the moments of noised training molecules of the same number of atoms: for data of mean μ and variance v
of a channel, mean α μ and variance α² v + σ² (truncated training of GAGA does so; here nothing is trained).

Legend: B molecules, N padded atoms, F features, S largest number of atoms in training.
"""

from dataclasses import dataclass

from torch import Tensor

from ead_core.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class GaussianStart:
    """A level, and what molecules are like there.

    Attributes:
        mean, spread: [S + 1, 3 + F] mean and standard deviation of an atom's channels, by the number of atoms.
    """

    mean: Tensor
    spread: Tensor

    @classmethod
    def at(cls, level: Tensor, schedule: NoiseSchedule, mean: Tensor, variance: Tensor) -> "GaussianStart":
        """The start at a level.

        Args:
            level: of all atoms, a single number.
            schedule: α and σ.
            mean: of clean molecules [S + 1, 3 + F], by the number of atoms.
            variance: of the same shape; for coordinates within the zero-centre subspace.
        """
        alpha, sigma = schedule.alpha(level).to(mean), schedule.sigma(level).to(mean)
        return cls(alpha * mean, (alpha**2 * variance + sigma**2).sqrt())

    def place(self, noise: Tensor, mask: Tensor) -> Tensor:
        """States [B, N, 3 + F] at the level.

        Args:
            noise: standard normals of that shape with centred coordinates.
            mask: [B, N] real atoms; molecules larger than any of training are taken for the largest.
        """
        sizes = mask.sum(dim=1).clamp_max(len(self.mean) - 1)
        mean, spread = (table.to(noise)[sizes][:, None] for table in (self.mean, self.spread))
        return (mean + spread * noise) * mask[..., None].to(noise.dtype)
