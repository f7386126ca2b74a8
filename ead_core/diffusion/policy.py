"""Who moves next: policies turn the history of each atom's velocity into a mask of advancing atoms.

A policy is a frozen value with one function; all that changes while sampling is passed in. Levels are counted in
steps of the sampling grid ("rungs"): with the full grid a rung is a level.

Legend: B molecules, N padded atoms, W remembered velocities (latest last).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Situation:
    """What a policy may look at.

    Attributes:
        rungs: [B, N] steps left per atom, 0 = clean.
        mask: [B, N] real atoms.
        velocities: [B, N, W] latest last.
        remembered: [B] how many have been seen so far; `velocities` holds the last W of them.
        pauses: [B, N] consecutive pauses.
        iterations: [B] iterations done before this one.
    """

    rungs: Tensor
    mask: Tensor
    velocities: Tensor
    remembered: Tensor
    pauses: Tensor
    iterations: Tensor


class Policy(Protocol):
    """Decides which atoms advance by one rung; the others pause."""

    @property
    def window(self) -> int:
        """Velocities it needs to see."""
        ...

    def advance(self, now: Situation) -> Tensor:
        """Mask [B, N] of advancing atoms, False wherever an atom is clean or padding."""
        ...


@dataclass(frozen=True)
class Synchronous:
    """Every atom advances in every iteration: plain EDM."""

    window: int = 1

    def advance(self, now: Situation) -> Tensor:
        """All atoms that are not clean."""
        return now.mask & (now.rungs > 0)


@dataclass(frozen=True)
class Manual:
    """A fixed pyramid: groups of atoms in storage order follow each other with a lag (EAD eq 20 [ASSUMPTION]).

    After m iterations atom i is at clip(top + lag·⌊i / group_size⌋ − m, 0, top).

    Attributes:
        top: rungs of the grid.
        group_size: G, atoms per group.
        lag: Δ, rungs between neighbouring groups.
    """

    top: int
    group_size: int
    lag: int
    window: int = 1

    def advance(self, now: Situation) -> Tensor:
        """Atoms whose group has started."""
        atoms = torch.arange(now.rungs.shape[1], device=now.rungs.device)
        delay = self.lag * torch.div(atoms, self.group_size, rounding_mode="floor")
        return now.mask & (now.rungs > 0) & (now.iterations[:, None] >= delay)


@dataclass(frozen=True)
class Adaptive:
    """EAD's schedule: in the last `start` rungs an atom advances while its velocity falls (Algorithm 2).

    Attributes:
        start: rungs of the asynchronous stage; above it every atom advances.
        window: w, velocities that must decrease monotonically (eq 13).
        clamp: largest spread of rungs within a molecule; who would fall further behind is forced.
        max_pauses: K_max, consecutive pauses before an atom advances anyway.
    """

    start: int
    window: int
    clamp: int
    max_pauses: int

    def advance(self, now: Situation) -> Tensor:
        """Atoms that are settled, out of patience, above the stage, or forced by the clamp."""
        moving = now.mask & (now.rungs > 0)
        patient = now.pauses < self.max_pauses
        willing = moving & ((now.rungs > self.start) | self.settled(now) | ~patient)
        after = torch.where(now.mask, now.rungs - willing.long(), torch.iinfo(torch.long).max)
        lowest = after.min(dim=1, keepdim=True).values
        return willing | (moving & (now.rungs - lowest > self.clamp))

    def settled(self, now: Situation) -> Tensor:
        """g of eq 13: the last `window` velocities decrease strictly; True until so many are known."""
        recent = now.velocities[..., -self.window :]
        falling = (recent[..., 1:] < recent[..., :-1]).all(dim=-1)
        return falling | (now.remembered < self.window)[:, None]
