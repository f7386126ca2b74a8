"""Coming near to wanted properties: molecules are pulled to where a predictor finds in them what is asked for.

A generator that is only told a property hardly heeds it (docs/results/conditional.md). A predictor knows how the
property follows from a finished molecule, and its gradient, through the predicted molecule and the generator, says how
the unfinished one has to change.

Legend: B molecules, N padded atoms, F features, K types, P properties.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.diffusion.pull import Pull, chances
from ead_core.networks.inputs import DenoiserInput

WIDTH = 0.3  # spreads of a property that what is predicted of an unfinished molecule may be wrong by
TAIL = 3  # widths beyond which the pull grows no further


@dataclass(frozen=True)
class PropertyGuidance(Pull):
    """The pull towards properties.

    Attributes:
        predictor: properties [B, P], in units of their spreads, of molecules whose atoms are at level 0.
        kinds: K.
    """

    wish: ClassVar[str] = "wanted"
    calls: ClassVar[int] = 4  # going back through the network, and to and fro through the predictor
    setting: ClassVar[str] = "property_guidance"
    predictor: Callable[[DenoiserInput], Tensor]
    kinds: int

    @property
    def kind(self) -> Hashable:
        """Those of another predictor are others."""
        return type(self), id(self.predictor)

    def asked(self, wish: Tensor) -> Tensor:
        """Which molecules are asked for any of the properties: [B, P] in units of their spreads, NaN where open."""
        return ~wish.isnan().all(dim=1)

    def log_probability(self, predicted: Tensor, mask: Tensor, wish: Tensor) -> Tensor:
        """Properties are Gaussian around what is predicted of x̂, each by itself, with longer tails."""
        features = predicted[..., 3:]
        types = chances(features, mask, self.kinds) / ONE_HOT_SCALE
        molecule = torch.cat([predicted[..., :3], types, features[..., self.kinds :]], dim=-1)
        found = self.predictor(DenoiserInput(molecule, torch.zeros_like(mask, dtype=torch.long), mask))
        known = ~wish.isnan()
        far = huber_loss(found, torch.where(known, wish, found.detach()), reduction="none", delta=TAIL * WIDTH)
        return -(far * known).sum(dim=1) / WIDTH**2
