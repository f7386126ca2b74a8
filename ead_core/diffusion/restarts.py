"""Going back up shortly before the end, where a molecule is about to get the wrong elements.

Which elements a molecule has is open until late on the way down, and models leave too many molecules with an odd number
of electrons, of which training data of neutral molecules have none. Its parity can be read off the elements of the
predicted clean molecule once they are settled, and so can its formula where one is asked for; a molecule with the wrong
one is noised to a level at which they are open, and comes down from there again (restarts: Xu et al. 2023,
arXiv 2306.14878; here only of who needs one).

Legend: B molecules, N padded atoms, F features, K types.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.diffusion.formula import asked, differs


@dataclass(frozen=True)
class Restarts:
    """Who restarts, and from where to where.

    Attributes:
        most: restarts of a molecule for its parity.
        levels: the shares of T at which molecules are looked at, and to which they go back.
        odd: [K] whether an atom of each type has an odd number of electrons.
        most_for_formula: restarts of a molecule that is asked for a composition, whatever its parity.
    """

    most: int
    levels: tuple[float, float]
    odd: Tensor
    most_for_formula: int = 0

    @property
    def most_of_all(self) -> int:
        """Most restarts of any molecule."""
        return max(self.most, self.most_for_formula)

    def steps(self, grid: Tensor, top: int) -> tuple[int, int] | None:
        """The steps of the grid [R + 1] below which molecules are looked at and to which they go back.

        None where the grid ends before there is a way between them; `top` is T.
        """
        low, high = (int((grid <= share * top).sum()) - 1 for share in self.levels)
        return (low, high) if high > low else None

    def due(self, features: Tensor, mask: Tensor, composition: Tensor, made: Tensor) -> Tensor:
        """Which molecules [B] restart.

        Args:
            features: [B, N, F] that are predicted.
            mask: [B, N] real atoms.
            composition: [B, K] atoms of each type, `OPEN` where nothing is asked; K = 0 if of no molecule.
            made: [B] restarts so far.
        """
        types = features[..., : len(self.odd)].argmax(dim=-1)
        wrong = differs(types, mask, composition) & (made < self.most_for_formula)
        return torch.where(asked(composition), wrong, self._unpaired(types, mask) & (made < self.most))

    def _unpaired(self, types: Tensor, mask: Tensor) -> Tensor:
        """Which molecules [B] have an odd number of electrons, by types [B, N] of real atoms."""
        return (self.odd.to(types.device)[types] & mask).sum(dim=1) % 2 == 1
