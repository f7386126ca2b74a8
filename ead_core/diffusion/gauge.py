"""Which representative of "the molecule up to a translation" stands for it when its atoms are at different levels.

A translation by c moves z_i by α_i c, so with unequal levels the plain centre of mass is not what a translation leaves
free. The z-gauge centres z all the same, as EDM's code would; its error is 10⁻⁵ for spreads far below T. The y-gauge is
exact for any spread: it centres y = z / α = x + r ε, r = σ / α, and takes reverse steps on the quotient (method 1.5).
Where atoms are held clean, they are the frame, and nothing is left free (fragments.py).

Legend: B molecules, N padded atoms, F features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.common.noise import Stream
from ead_core.data.tensors import about, centre, centre_state
from ead_core.diffusion.schedule import NoiseSchedule

Draw = Callable[[Stream, tuple[int, int]], Tensor]  # standard normals [B, N, channels] for (N, channels)


@dataclass(frozen=True)
class Gauge(ABC):
    """What depends on the choice; `levels` and `mask` are [B, N], all else is [B, N, 3 + F].

    Attributes:
        schedule: α and σ.
    """

    schedule: NoiseSchedule

    @abstractmethod
    def noise(self, draws: Tensor, mask: Tensor) -> Tensor:
        """Standard normals as they enter a state."""

    @abstractmethod
    def project_noise(self, eps: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The part of a noise that can be told from the state: what the network is to predict."""

    @abstractmethod
    def project_state(self, z: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The representative of z."""

    @abstractmethod
    def centred(self, state: Tensor, mask: Tensor) -> Tensor:
        """A clean state, or a change of one, without what is a translation."""

    def noise_step(
        self, mean: Tensor, spread: Tensor, draw: Draw, levels: Tensor, below: Tensor, mask: Tensor
    ) -> Tensor:
        """Where a reverse step ends: its mean and each atom's own noise.

        Args:
            mean: of the step.
            spread: standard deviation of every atom's own noise [B, N, 1].
            draw: gives standard normals.
            levels: before the step.
            below: after it.
            mask: real atoms.
        """
        return mean + spread * self.noise(draw(Stream.STEP, (mean.shape[1], mean.shape[2])), mask)


@dataclass(frozen=True)
class ZGauge(Gauge):
    """Σ z_i = 0."""

    def noise(self, draws: Tensor, mask: Tensor) -> Tensor:
        """Standard normals with centred coordinates."""
        return centre_state(draws, mask)

    def project_noise(self, eps: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The whole noise, since noise and predictions are centred already."""
        return eps

    def project_state(self, z: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The state with centred coordinates."""
        return centre_state(z, mask)

    def centred(self, state: Tensor, mask: Tensor) -> Tensor:
        """A clean state, or a change of one, with centred coordinates."""
        return centre_state(state, mask)


@dataclass(frozen=True)
class YGauge(Gauge):
    """Σ z_i / α_i = 0."""

    def noise(self, draws: Tensor, mask: Tensor) -> Tensor:
        """Standard normals as drawn, zero where padded."""
        return draws * mask[..., None].to(draws.dtype)

    def project_noise(self, eps: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The noise without the direction u_i ∝ 1 / r_i in which a translation moves it."""
        weight = mask / self._ratio(levels)
        along = (weight / weight.norm(dim=1, keepdim=True)).to(eps.dtype)[..., None]
        coordinates = eps[..., :3] - along * (along * eps[..., :3]).sum(dim=1, keepdim=True)
        return torch.cat([coordinates, eps[..., 3:]], dim=-1) * mask[..., None].to(eps.dtype)

    def project_state(self, z: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The state with y = z / α centred."""
        alpha = self.schedule.alpha(levels)[..., None]
        coordinates = (alpha * centre(z[..., :3] / alpha, mask)).to(z.dtype)
        return torch.cat([coordinates, z[..., 3:] * mask[..., None].to(z.dtype)], dim=-1)

    def centred(self, state: Tensor, mask: Tensor) -> Tensor:
        """A clean state, or a change of one, with centred coordinates."""
        return centre_state(state, mask)

    def noise_step(
        self, mean: Tensor, spread: Tensor, draw: Draw, levels: Tensor, below: Tensor, mask: Tensor
    ) -> Tensor:
        """Also with the noise of the translation."""
        end = super().noise_step(mean, spread, draw, levels, below, mask)
        shift = self.shift(draw(Stream.SHIFT, (1, 3))[:, 0], levels, below, mask)
        return torch.cat([end[..., :3] + shift, end[..., 3:]], dim=-1)

    def shift(self, normals: Tensor, levels: Tensor, below: Tensor, mask: Tensor) -> Tensor:
        """What a reverse step adds to coordinates [B, N, 3] for the unknown translation c ~ N(0, 1 / Σ r_t⁻²).

        It is α_s (r_s² / r_t² − 1) c, in a frame in which atoms that do not move stay.

        Args:
            normals: one draw per molecule [B, 3].
            levels: before the step.
            below: after it.
            mask: real atoms.
        """
        ratio, ratio_below = self._ratio(levels), self._ratio(below)
        unknown = normals / (mask / ratio**2).sum(dim=1, keepdim=True).sqrt()
        gain = self.schedule.alpha(below) * ((ratio_below / ratio) ** 2 - 1) * mask
        return (gain[..., None] * unknown[:, None, :]).to(normals.dtype)

    def _ratio(self, levels: Tensor) -> Tensor:
        return self.schedule.sigma(levels) / self.schedule.alpha(levels)


@dataclass(frozen=True)
class PinnedGauge(Gauge):
    """Held atoms stay where they are; z of the others is in their frame, without any projection.

    Attributes:
        held: [B, N] clean atoms, at least one per molecule.
    """

    held: Tensor

    def noise(self, draws: Tensor, mask: Tensor) -> Tensor:
        """Standard normals as drawn, zero for held atoms."""
        return draws * self._free(draws, mask)

    def project_noise(self, eps: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """Relative to the held atoms: a displacement of theirs is a translation of all."""
        return about(eps, self.held) * self._free(eps, mask)

    def project_state(self, z: Tensor, levels: Tensor, mask: Tensor) -> Tensor:
        """The state as it is: held atoms are its frame."""
        return z * mask[..., None].to(z.dtype)

    def centred(self, state: Tensor, mask: Tensor) -> Tensor:
        """The clean state, or its change, as it is: held atoms are its frame."""
        return state * mask[..., None].to(state.dtype)

    def _free(self, like: Tensor, mask: Tensor) -> Tensor:
        return (mask & ~self.held)[..., None].to(like.dtype)


GAUGES: dict[str, Callable[[NoiseSchedule], Gauge]] = {"z": ZGauge, "y": YGauge}
