"""Reconstruction guidance: molecules are pulled to what is asked of them while they can still follow.

The pull is the gradient, by the noised state, of the probability that the molecule predicted from it is what is asked
for (Ho et al. 2022, arXiv 2204.03458): through the network, it moves atoms to where the whole molecule comes nearer.

Legend: B molecules, N padded atoms, F features, K types.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.diffusion.grid import inside

LEAST = 0.01  # probability of a type: predictions are means and may lie outside of 0 … 1
LARGEST_PULL = 1.0  # root mean square, in units of the noise, that the pull of one step may have


@dataclass(frozen=True)
class Pull(ABC):
    """A pull towards something that is asked for.

    Attributes:
        scale: 1 is the gradient as it is.
        levels: between which shares of T there is a pull.
        at_once: molecules whose gradient is taken at once.
        wish: the tensor of the state that says what is asked of each molecule.
        calls: what a gradient counts for, in network calls.
        setting: key of the sampler that leaves out what the pull costs.
    """

    wish: ClassVar[str]
    calls: ClassVar[int]
    setting: ClassVar[str]
    scale: float
    levels: tuple[float, float]
    at_once: int

    @property
    def kind(self) -> Hashable:
        """Equal for pulls that molecules of several requests may share, if their settings are equal."""
        return type(self)

    @abstractmethod
    def asked(self, wish: Tensor) -> Tensor:
        """Of which molecules [B] something is asked."""

    @abstractmethod
    def log_probability(self, predicted: Tensor, mask: Tensor, wish: Tensor) -> Tensor:
        """How well predicted molecules x̂ [B, N, 3 + F] agree with what is asked: [B], up to a constant.

        Any number stands where nothing is asked; `mask` [B, N] are real atoms.
        """

    def pulled(self, levels: Tensor, mask: Tensor, wish: Tensor, top: int) -> Tensor:
        """Which molecules [B] are pulled: something is asked, and an atom is where there is a pull; `top` is T."""
        return self.asked(wish) & (self.within(levels, top) & mask).any(dim=1)

    def noise(self, gradient: Tensor, sigma: Tensor, levels: Tensor, mask: Tensor, wish: Tensor, top: int) -> Tensor:
        """What is taken from ε̂ [B, N, 3 + F].

        Args:
            gradient: of the log probability by the state, of that shape.
            sigma: [B, N, 1] of the levels.
            levels: [B, N].
            mask: [B, N] atoms that move.
            wish: of the state.
            top: T.
        """
        free = self.within(levels, top) & mask & self.asked(wish)[:, None]
        pull = self.scale * sigma * gradient * free[..., None]
        size = (pull.flatten(1).square().sum(dim=1) / (mask.sum(dim=1).clamp_min(1) * pull.shape[2])).sqrt()
        return pull * (LARGEST_PULL / size.clamp_min(LARGEST_PULL))[:, None, None]

    def within(self, levels: Tensor, top: int) -> Tensor:
        """At which levels, of any shape, there is a pull."""
        return (levels > 0) & (self.scale > 0) & inside(levels, self.levels, top)


def chances(features: Tensor, mask: Tensor, kinds: int) -> Tensor:
    """Probabilities [B, N, K] of the types of atoms, 0 for padding.

    Args:
        features: [B, N, F] of x̂, whose one-hot part is the mean over what the molecule may become.
        mask: [B, N] real atoms.
        kinds: K.
    """
    likely = (ONE_HOT_SCALE * features[..., :kinds]).clamp(LEAST, 1)
    return likely / likely.sum(dim=-1, keepdim=True) * mask[..., None]
