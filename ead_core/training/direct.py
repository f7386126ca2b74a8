"""The objective `direct`: to predict the clean molecule from its noised form and an earlier estimate (DDDM).

DDDM (arXiv 2405.13540, for molecules 2601.08963) writes the end of the probability flow as x = z − F(x, z, t) and lets
a network, given its own last estimate x̄, learn the right side, so that iterating it from one noise gives a molecule.
Why x̄ is made in the same step, and not kept from the last one as in the paper: docs/decisions/028-direct.md.
"""

from dataclasses import dataclass

from torch import Tensor

from ead_core.diffusion.loss import clean_loss
from ead_core.training.denoising import Denoising
from ead_core.training.noised import Noised


@dataclass(frozen=True)
class Direct(Denoising):
    """The objective of a generator that learns the clean molecule; all but the loss is that of `Denoising`."""

    def _loss(self, predicted: Tensor, noised: Noised) -> Tensor:
        """Pseudo-Huber distance of x̂, for which the error of ε̂ counts σ / α times; a common translation is free."""
        alpha, sigma = noised.coefficients()
        error = noised.gauge.centred(sigma / alpha * (noised.corrupted.eps - predicted), noised.learned)
        return clean_loss(error, noised.learned, ((alpha / sigma) ** 2)[..., 0], self.config.training.huber_width)
