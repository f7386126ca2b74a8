"""Keeping a fragment while the rest of a molecule is generated, by a model that was trained with `training.fragments`.

To EAD a fragment is a few atoms that have settled before the others begin: they are clean (level 0) from the start, all
others are at T, and any schedule takes these down. The held atoms are the frame: their centroid is the origin, and the
noise of the others is not projected.

Legend: B molecules, N padded atoms, F features.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ead_core.chemistry.overlap import find_overlap
from ead_core.common.noise import Stream, normal
from ead_core.data.tensors import AtomTypes
from ead_core.errors import DataError
from ead_core.sampling.state import SamplerState


@dataclass(frozen=True, eq=False)
class Fragment:
    """Atoms that generated molecules shall keep.

    Attributes:
        charges: [n] atomic numbers.
        positions: [n, 3] in Å, in the frame that the generated molecules shall have.
        net_charge: in e, of which models know nothing.
    """

    charges: NDArray[np.int64]
    positions: NDArray[np.float64]
    net_charge: int = 0

    def __len__(self) -> int:
        return len(self.charges)

    def check(self) -> None:
        """Refuse what is no part of any molecule (DataError): two atoms too close to each other."""
        close = find_overlap(self.charges, self.positions)
        if close:
            raise DataError(f"two atoms of the fragment are too close to each other: {close}.")

    def begin(self, state: SamplerState, atom_types: AtomTypes) -> SamplerState:
        """First states with the fragment as the first atoms of every molecule, clean, and noise around its centroid.

        Args:
            state: from `initial_state`.
            atom_types: of the model.

        Raises:
            DataError: an element that the model does not know.
        """
        count, z = len(self), state.z
        noise = normal(state.seeds, state.ids, 0, Stream.PRIOR, (z.shape[1], z.shape[2]), z.dtype)
        noise *= state.mask[..., None]
        positions = torch.from_numpy(self.positions - self.positions.mean(axis=0))
        features = atom_types.features(atom_types.types(torch.from_numpy(self.charges)))
        noise[:, :count] = torch.cat([positions, features], dim=1).to(z)
        held = torch.zeros_like(state.mask)
        held[:, :count] = True
        return replace(state, z=noise, grid_index=state.grid_index * ~held, held=held)

    def restore(
        self, charges: NDArray[Any], positions: NDArray[np.float32]
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """A finished molecule [N], [N, 3] moved into the fragment's frame, with the fragment's own atoms."""
        count, charges = len(self), charges.copy()
        moved = positions - positions[:count].mean(axis=0) + self.positions.mean(axis=0)
        charges[:count], moved[:count] = self.charges, self.positions
        return charges, moved.astype(np.float32)
