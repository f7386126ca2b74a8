"""Going back up shortly before the end, where the elements that a molecule is about to get leave an electron unpaired.

Which elements a molecule has is open until late on the way down, and models leave too many molecules with an odd number
of electrons, of which training data of neutral molecules have none. Its parity can be read off the elements of the
predicted clean molecule once they are settled; a molecule with the wrong one is noised to a level at which they are
open, and comes down from there again (restarts: Xu et al. 2023, arXiv 2306.14878; here only of who needs one).

Legend: B molecules, N padded atoms, F features.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ParityRestarts:
    """Who restarts, and from where to where.

    Attributes:
        most: restarts of a molecule.
        levels: the shares of T at which molecules are looked at, and to which they go back.
        odd: [K] whether an atom of each type has an odd number of electrons.
    """

    most: int
    levels: tuple[float, float]
    odd: Tensor

    def steps(self, grid: Tensor, top: int) -> tuple[int, int] | None:
        """The steps of the grid [R + 1] below which molecules are looked at and to which they go back.

        None where the grid ends before there is a way between them; `top` is T.
        """
        low, high = (int((grid <= share * top).sum()) - 1 for share in self.levels)
        return (low, high) if high > low else None

    def unpaired(self, features: Tensor, mask: Tensor) -> Tensor:
        """Which molecules [B] have an odd number of electrons, by the features [B, N, F] of real atoms."""
        odd = self.odd.to(features.device)
        types = features[..., : len(odd)].argmax(dim=-1)
        return (odd[types] & mask).sum(dim=1) % 2 == 1
