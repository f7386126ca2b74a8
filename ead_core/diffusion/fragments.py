"""Keeping a fragment while the rest of a molecule is generated, with a model that was trained on whole molecules.

Before every network call the fragment's atoms are set to noised copies of the clean ones at their levels (RePaint,
Lugmayr et al. 2022, arXiv 2201.09865). Where the fragment lies in the centred frame of the whole molecule is unknown
while the rest is missing: only its shape is imposed, and its centroid stays where generation has it. At the end the
atoms are put back exactly, in the frame in which they were given.

Legend: B molecules, N padded atoms, F features; a `held` tensor [B, N, 4 + F] has clean positions, scaled features, and
a last channel that is one for held atoms; without a fragment it is [B, N, 0].
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.molecules import AtomTypes


@dataclass(frozen=True, eq=False)
class Fragment:
    """Atoms to keep.

    Attributes:
        charges: [n] atomic numbers.
        positions: [n, 3] in Å, in the frame that the generated molecules shall have.
    """

    charges: NDArray[np.int64]
    positions: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.charges)

    def held(self, mask: Tensor, atom_types: AtomTypes) -> Tensor:
        """[B, N, 4 + F] with the fragment as the first atoms of every molecule, its centroid at the origin.

        Args:
            mask: [B, N] real atoms.
            atom_types: of the model.

        Raises:
            DataError: an element that the model does not know.
        """
        positions = torch.from_numpy(self.positions - self.positions.mean(axis=0)).float()
        features = atom_types.features(atom_types.types(torch.from_numpy(self.charges)))
        known = torch.cat([positions, features, torch.ones(len(self), 1)], dim=1).to(mask.device)
        held = known.new_zeros(*mask.shape, known.shape[1])
        held[:, : len(self)] = known
        return held

    def restore(
        self, charges: NDArray[Any], positions: NDArray[np.float32]
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """A finished molecule [N], [N, 3] moved into the fragment's frame, with the fragment's own atoms."""
        count, charges = len(self), charges.copy()
        moved = positions - positions[:count].mean(axis=0) + self.positions.mean(axis=0)
        charges[:count], moved[:count] = self.charges, self.positions
        return charges, moved.astype(np.float32)


def impose(z: Tensor, held: Tensor, alpha: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """z [B, N, 3 + F] with held atoms drawn from q(z_t | x) at their own levels, but for their centroid, which stays.

    Args:
        z: the state.
        held: see above.
        alpha: α of each atom [B, N, 1].
        sigma: σ of each atom [B, N, 1].
        noise: standard normals of the shape of `z`.
    """
    fixed = held[..., -1:]
    known = alpha * held[..., :-1] + sigma * noise
    moved = (fixed * (z - known))[..., :3].sum(dim=1, keepdim=True) / fixed.sum(dim=1, keepdim=True).clamp_min(1)
    known = torch.cat([known[..., :3] + moved, known[..., 3:]], dim=-1)
    return torch.where(fixed > 0, known, z)
