"""Who moves next: policies turn the history of each atom's velocity into a mask of advancing atoms.

A policy is a frozen value with one function; all that changes while sampling is passed in. The place of an atom is
counted in steps of the sampling grid ("grid steps"), the distance between atoms in levels; with the full grid a grid
step is a level.

Legend: B molecules, N padded atoms, W remembered velocities (latest last), R steps of the grid.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ead_core.common.noise import Stream, uniform
from ead_core.diffusion.convergence import CONVERGENCE


@dataclass(frozen=True)
class PolicyState:
    """What a policy may look at.

    Attributes:
        seeds, ids: [B] the molecules, as keys of random numbers.
        grid_index: [B, N] steps left per atom, 0 = clean.
        mask: [B, N] atoms that are to become clean: real ones that are not held.
        velocities: [B, N, W] latest last.
        remembered: [B, N] how many have been seen so far; `velocities` holds the last W of them.
        pauses: [B, N] consecutive pauses.
        iterations: [B] iterations done before this one.
        grid: [R + 1] the levels of the sampling grid, ascending from 0; `grid[grid_index]` are those of the atoms.
    """

    seeds: Tensor
    ids: Tensor
    grid_index: Tensor
    mask: Tensor
    velocities: Tensor
    remembered: Tensor
    pauses: Tensor
    iterations: Tensor
    grid: Tensor


class Policy(ABC):
    """Decides which atoms advance by one grid step; the others pause.

    Attributes:
        waits: a paused atom stays exactly as it is, whatever `sampler.pause_mode` says.
    """

    waits: ClassVar[bool] = False

    @abstractmethod
    def advance(self, now: PolicyState) -> Tensor:
        """Mask [B, N] of advancing atoms, False wherever an atom is clean or padding."""

    @abstractmethod
    def most_pauses(self, atoms: int) -> int:
        """Most iterations by which the pauses of any atom can lengthen the run of a molecule of so many atoms."""

    def branch_index(self, top: int) -> int:
        """Grid steps left when the first atom may pause: above it the run is the synchronous one.

        Args:
            top: steps of the grid, which is also the answer of a policy that says nothing; 0 is never.
        """
        return top

    def label(self) -> str:
        """The policy in a few words, for the title of a trace."""
        return type(self).__name__


@dataclass(frozen=True)
class Synchronous(Policy):
    """Every atom advances in every iteration: plain EDM."""

    def advance(self, now: PolicyState) -> Tensor:
        """All atoms that are not clean."""
        return now.mask & (now.grid_index > 0)

    def most_pauses(self, atoms: int) -> int:
        """No pauses."""
        return 0

    def branch_index(self, top: int) -> int:
        """0: the run never leaves the synchronous one."""
        return 0

    def label(self) -> str:
        """The name of the policy, as traces show it."""
        return "synchronous"


@dataclass(frozen=True)
class Manual(Policy):
    """A fixed pyramid: groups of atoms in storage order follow each other with a lag (EAD eq 20 [ASSUMPTION]).

    After m iterations atom i is at clip(top + lag·⌊i / group_size⌋ − m, 0, top).

    Attributes:
        top: steps of the grid.
        group_size: G, atoms per group.
        lag: Δ, grid steps between neighbouring groups.
    """

    waits: ClassVar[bool] = True
    top: int
    group_size: int
    lag: int

    def advance(self, now: PolicyState) -> Tensor:
        """Atoms whose group has started."""
        atoms = torch.arange(now.grid_index.shape[1], device=now.grid_index.device)
        delay = self.lag * torch.div(atoms, self.group_size, rounding_mode="floor")
        return now.mask & (now.grid_index > 0) & (now.iterations[:, None] >= delay)

    def most_pauses(self, atoms: int) -> int:
        """The delay of the last group."""
        return self.lag * ((atoms - 1) // self.group_size)

    def label(self) -> str:
        """Its name and the shape of the pyramid."""
        return f"manual · group_size {self.group_size} · lag {self.lag}"


@dataclass(frozen=True)
class Asynchronous(Policy):
    """Base of policies that let atoms pause in the last `start` grid steps (Algorithm 2).

    The clamp holds on every grid. All atoms take a step that is longer than the clamp together, once one of them goes.

    Attributes:
        start: grid steps of the asynchronous stage; above it every atom advances.
        clamp: levels by which an atom may lag behind the lowest of its molecule; who would lag further is forced.
        max_pauses: K_max, consecutive pauses before an atom advances anyway.
    """

    start: int
    clamp: int
    max_pauses: int

    @abstractmethod
    def wants_to_advance(self, now: PolicyState) -> Tensor:
        """Mask [B, N] of atoms that would go on."""

    def advance(self, now: PolicyState) -> Tensor:
        """Atoms that wish to, are out of patience, above the stage, or forced by the clamp."""
        moving = now.mask & (now.grid_index > 0)
        patient = now.pauses < self.max_pauses
        willing = (now.grid_index > self.start) | self.wants_to_advance(now) | ~patient
        levels, below = now.grid[now.grid_index], now.grid[(now.grid_index - 1).clamp_min(0)]
        # Whoever is forced takes one step, which may be too short to keep up with an atom below: that one waits.
        reached = below.masked_fill(~now.mask, 0).amax(dim=1, keepdim=True)
        going = moving & willing & (reached - below <= self.clamp)
        after = torch.where(going, below, levels).masked_fill(~now.mask, torch.iinfo(torch.long).max)
        return going | (moving & (levels - after.amin(dim=1, keepdim=True) > self.clamp))

    def most_pauses(self, atoms: int) -> int:
        """All that one atom may make; others wait at the same time."""
        return self.start * self.max_pauses

    def branch_index(self, top: int) -> int:
        """The beginning of the asynchronous stage."""
        return self.start


@dataclass(frozen=True)
class Adaptive(Asynchronous):
    """EAD's schedule: an atom advances while its velocity falls (g of eq 13).

    Attributes:
        window: w, velocities that the test looks at.
        test: a key of `CONVERGENCE`.
    """

    window: int
    test: str = "strict"

    def wants_to_advance(self, now: PolicyState) -> Tensor:
        """Atoms whose last `window` velocities pass the test, and those that have not so many yet."""
        return CONVERGENCE[self.test](now.velocities, self.window) | (now.remembered < self.window)

    def label(self) -> str:
        """Its name, stage and window."""
        return f"adaptive · last {self.start} steps · history_window {self.window}"


@dataclass(frozen=True)
class RandomPauses(Asynchronous):
    """A control without any choice: atoms advance with given probabilities, whatever they do.

    Attributes:
        rates: probability to advance at grid steps 1, 2, …; the last one also serves those above.
        together: one draw for all atoms of a molecule, which is a synchronous sampler that lingers.
    """

    rates: tuple[float, ...]
    together: bool = False

    def wants_to_advance(self, now: PolicyState) -> Tensor:
        """Atoms whose draw, keyed by seed, id and iteration, is below their grid step's rate."""
        atoms = now.grid_index.shape[1]
        blocks = torch.arange(-(-atoms // 4), device=now.grid_index.device)
        draws = uniform(now.seeds, now.ids, now.iterations, Stream.POLICY, blocks)
        draws = draws[:, :1].expand(-1, atoms) if self.together else draws[:, :atoms]
        rates = torch.tensor(self.rates, dtype=draws.dtype, device=draws.device)
        return draws < rates[(now.grid_index - 1).clamp(0, len(self.rates) - 1)]

    def label(self) -> str:
        """Its name and stage."""
        return f"random · last {self.start} steps"
