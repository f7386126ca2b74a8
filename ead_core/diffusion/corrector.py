"""Going back and forth on the way down: rounds of a corrector between two moves, whatever the policy and the solver.

In a round no atom changes its level. Atoms within a window of levels make their move and are brought back up, so that
the network sees them anew and errors of earlier moves are mended (predictor and corrector, Song et al. 2021,
arXiv 2011.13456; restarts, Xu et al. 2023, arXiv 2306.14878). How many rounds there are is planned for each step of the
grid; that of a molecule is the one of its highest atom.

Legend: B molecules, N padded atoms, F features.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ead_core.diffusion.grid import inside
from ead_core.diffusion.pauses import Lift


class Correction(Protocol):
    """What a round does to an atom."""

    def __call__(self, end: Tensor, lift: Lift) -> Tensor:
        """The state after the round [B, N, 3 + F], at the levels from which it began.

        Args:
            end: where the move leads, one grid step down.
            lift: takes such a state back up, with fresh noise.
        """
        ...


def _renoise(end: Tensor, lift: Lift) -> Tensor:
    """Down and back up: right marginals stay right."""
    return lift(end)


def _repeat(end: Tensor, lift: Lift) -> Tensor:
    """Down, but called as noisy as before, which cools."""
    return end


CORRECTIONS: dict[str, Correction] = {"renoise": _renoise, "repeat": _repeat}
CHANNELS = {"all": slice(None), "coordinates": slice(None, 3), "types": slice(3, None)}  # of a state [B, N, 3 + F]


@dataclass(frozen=True)
class Corrector:
    """When there are rounds, and what they do.

    Attributes:
        rounds: per step of the grid, on average; 0.5 is one at every second step.
        correction: a value of `CORRECTIONS`.
        levels: between which shares of T.
        channels: a value of `CHANNELS`; the others stay as they are.
    """

    rounds: float
    correction: Correction
    levels: tuple[float, float]
    channels: slice

    def atoms(self, levels: Tensor, top: int) -> Tensor:
        """Which atoms take part in a round, by their levels of any shape; `top` is T."""
        return (levels > 0) & inside(levels, self.levels, top)

    def plan(self, grid: Tensor, top: int) -> Tensor:
        """How many rounds a molecule makes while its highest atom is at a step of the grid [R + 1].

        Args:
            grid: [R + 1] ascending levels.
            top: T.
        """
        visited = self.atoms(grid, top).long().flip(0).cumsum(0)  # steps of the window, from the top down
        made = (self.rounds * visited.double() + 1e-9).floor().long()  # 10 · 0.1 is 1, however it is rounded
        return made.diff(prepend=made.new_zeros(1)).flip(0)

    def corrected(self, z: Tensor, end: Tensor, part: Tensor, lift: Lift) -> Tensor:
        """The state [B, N, 3 + F] after a round.

        Args:
            z: before it.
            end: the move of every atom.
            part: [B, N] atoms that take part.
            lift: the way back up.
        """
        after = z.clone()
        after[..., self.channels] = self.correction(end, lift)[..., self.channels]
        return torch.where(part[..., None], after, z)
