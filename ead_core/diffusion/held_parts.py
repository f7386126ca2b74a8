"""Which part of a training molecule is held, so that a model learns to complete fragments (`training.fragments`).

Legend: B molecules, N padded atoms.
"""

import torch
from rdkit import Chem
from torch import Tensor

from ead_core.data.tensors import AtomTypes, MoleculeBatch

BOND_REACH = 1.25  # atoms nearer than so many sums of their covalent radii are bonded
MOST_CUT = 0.5  # of the bonds


def draw_held(batch: MoleculeBatch, atom_types: AtomTypes, generator: torch.Generator | None) -> Tensor:
    """A connected part of each molecule, at random, without at least one atom [B, N].

    Of each molecule one atom is let go, and up to half of the bonds are cut, mostly few; what is still connected to
    another atom is held. A molecule of one atom has nothing to hold.
    """
    mask, device = batch.mask, batch.mask.device
    B, N = mask.shape
    order = torch.rand(mask.shape, generator=generator, device=device).masked_fill(~mask, 2).argsort(dim=1)
    released, seed = order[:, 0], order[:, min(1, N - 1)]
    cut = MOST_CUT * torch.rand((B, 1, 1), generator=generator, device=device) ** 2
    draws = torch.rand((B, N, N), generator=generator, device=device).triu(1)
    bonds = _bonds(batch, atom_types) & (draws + draws.mT >= cut)
    rows = torch.arange(B, device=device)
    bonds[rows, released] = False
    held = torch.zeros_like(mask)
    held[rows, seed] = mask[rows, seed]
    for _ in range(N):
        held = held | (bonds & held[:, :, None]).any(dim=1)
    held[rows, released] = False
    return held


def _bonds(batch: MoleculeBatch, atom_types: AtomTypes) -> Tensor:
    """Pairs of real atoms that are near enough to be bonded [B, N, N]; an atom is no neighbour of itself."""
    table = Chem.GetPeriodicTable()
    radii = torch.tensor([table.GetRcovalent(number) for number in atom_types.numbers], device=batch.mask.device)
    radius = radii[batch.types]
    distance = (batch.positions[:, :, None] - batch.positions[:, None]).norm(dim=-1)
    near = distance < BOND_REACH * (radius[:, :, None] + radius[:, None])
    apart = ~torch.eye(batch.mask.shape[1], dtype=torch.bool, device=batch.mask.device)
    return near & apart & batch.mask[:, :, None] & batch.mask[:, None]
