"""Molecules as tensors: which elements a model knows, padded batches, and the zero-centre-of-mass subspace.

Legend: B molecules, N padded atoms, F features per atom (one-hot element and, if used, the nuclear charge).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.chemistry.elements import element_symbol
from ead_core.errors import DataError

DUMMY = 0  # the "atomic number" of a slot without an atom (EAD, variable size)
ONE_HOT_SCALE = 4.0  # EDM's normalize_factors [1, 4, 10]: x / 1, one-hot / 4, charge / 10
CHARGE_SCALE = 10.0


@dataclass(frozen=True)
class AtomTypes:
    """The ordered element vocabulary of a model and its scaled features (EDM, appendix on normalisation).

    Attributes:
        numbers: atomic numbers in ascending order, first `DUMMY` if slots may be empty; the position is the type index.
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.numbers or list(self.numbers) != sorted(set(self.numbers)):
            raise DataError("atom types must be distinct atomic numbers in ascending order.")

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element symbols in type order."""
        return tuple(element_symbol(z) for z in self.numbers)

    @property
    def num_features(self) -> int:
        """F: one channel per element and one for the nuclear charge."""
        return len(self.numbers) + 1

    @property
    def has_dummies(self) -> bool:
        """Whether slots may be empty."""
        return self.numbers[0] == DUMMY

    def types(self, charges: Tensor) -> Tensor:
        """Type index of each atomic number, any shape.

        Raises:
            DataError: an element outside the vocabulary.
        """
        table = torch.tensor(self.numbers, device=charges.device)
        index = torch.searchsorted(table, charges.long().contiguous()).clamp_max(len(self.numbers) - 1)
        unknown = charges[table[index] != charges]
        if len(unknown):
            names = ", ".join(sorted({element_symbol(int(z)) for z in unknown.unique()}))
            raise DataError(f"element {names} is not in the model's set ({', '.join(self.symbols)}).")
        return index

    def features(self, types: Tensor) -> Tensor:
        """Scaled features [..., F] of type indices [...]: one-hot / 4 and charge / 10."""
        one_hot = torch.nn.functional.one_hot(types, len(self.numbers)).float() / ONE_HOT_SCALE
        charges = torch.tensor(self.numbers, device=types.device)[types].float() / CHARGE_SCALE
        return torch.cat([one_hot, charges[..., None]], dim=-1)

    def charges(self, features: Tensor) -> Tensor:
        """Atomic numbers [...] decoded from noisy features [..., F] by the largest one-hot channel."""
        types = features[..., : len(self.numbers)].argmax(dim=-1)
        return torch.tensor(self.numbers, device=features.device)[types]


@dataclass(frozen=True)
class MoleculeBatch:
    """Molecules as tensors padded to one number of atoms.

    Attributes:
        positions: [B, N, 3] in Å, zero where padded.
        types: [B, N] type indices, 0 where padded.
        mask: [B, N] True for real atoms.
        context: [B, 2P] what is known of them as a whole; None without conditions.
        examples: [B] their places in the training set; None if they are from elsewhere.
    """

    positions: Tensor
    types: Tensor
    mask: Tensor
    context: Tensor | None = None
    examples: Tensor | None = None

    def state(self, atom_types: AtomTypes) -> Tensor:
        """Clean diffusion state [B, N, 3 + F]: centred positions and scaled features, zero where padded."""
        state = torch.cat([centre(self.positions, self.mask), atom_types.features(self.types)], dim=-1)
        return state * self.mask[..., None]

    def to(self, device: torch.device | str) -> "MoleculeBatch":
        """A copy of the batch on another device."""
        tensors = {name: tensor.to(device) for name, tensor in vars(self).items() if tensor is not None}
        return MoleculeBatch(**tensors)


def size_mask(sizes: Sequence[int] | NDArray | Tensor, width: int | None = None) -> Tensor:
    """Mask [B, N] that is True for the first `sizes[b]` atoms; N is `width` or the largest size."""
    sizes = torch.as_tensor(sizes, dtype=torch.long)
    width = int(sizes.max()) if width is None else width
    return torch.arange(width)[None, :] < sizes[:, None]


def centre(vectors: Tensor, mask: Tensor) -> Tensor:
    """Remove the mean over real atoms from [B, N, 3], leaving padding at zero (projection on U of the paper)."""
    return (vectors - _centroid(vectors, mask)) * mask[..., None].to(vectors.dtype)


def about(state: Tensor, atoms: Tensor) -> Tensor:
    """A state [B, N, 3 + F] with the centroid of some of its atoms [B, N] as the origin."""
    return torch.cat([state[..., :3] - _centroid(state[..., :3], atoms), state[..., 3:]], dim=-1)


def _centroid(vectors: Tensor, atoms: Tensor) -> Tensor:
    """Mean over some atoms [B, 1, 3], zero if there are none."""
    weights = atoms[..., None].to(vectors.dtype)
    return (vectors * weights).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True).clamp_min(1)


def centre_state(state: Tensor, mask: Tensor) -> Tensor:
    """Centre the coordinate part of a state [B, N, 3 + F] and zero all of its padding."""
    features = state[..., 3:] * mask[..., None].to(state.dtype)
    return torch.cat([centre(state[..., :3], mask), features], dim=-1)


def without_dummies(charges: NDArray[Any], positions: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The atoms of a molecule with empty slots, centred; if all are empty, one hydrogen, since no molecule is nothing.

    Args:
        charges: [N] atomic numbers, `DUMMY` where empty.
        positions: [N, 3].
    """
    real = charges != DUMMY
    if real.all():
        return charges, positions
    if not real.any():
        return np.ones_like(charges[:1]), np.zeros_like(positions[:1])
    return charges[real], positions[real] - positions[real].mean(axis=0)
