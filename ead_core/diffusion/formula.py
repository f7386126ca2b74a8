"""Keeping to a formula: elements that are predicted are drawn to a composition while the geometry can still follow.

How many atoms of each element a molecule will have is planned in its geometry, before types can be read off their own
noisy channels. So types that are merely set do not help: the geometry that forms around them is that of others. What
helps is a pull through the network (pull.py): it moves atoms to where they are taken for what is asked.

Legend: B molecules, N padded atoms, F features, K types.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.diffusion.pull import Pull, chances

OPEN = -1  # in a composition: nothing is asked
VARIANCE = 0.1  # of each number of atoms, in addition to what the probabilities leave open


@dataclass(frozen=True)
class FormulaGuidance(Pull):
    """The pull towards a composition."""

    wish: ClassVar[str] = "composition"
    calls: ClassVar[int] = 2  # going back through the network
    setting: ClassVar[str] = "formula_restarts"

    def asked(self, wish: Tensor) -> Tensor:
        """Which molecules are asked for a composition [B, K]."""
        return asked(wish)

    def log_probability(self, predicted: Tensor, mask: Tensor, wish: Tensor) -> Tensor:
        """Each atom has its type by itself, with the predicted probabilities; the numbers of atoms are Gaussian."""
        return log_probability(predicted[..., 3:], mask, wish)


def asked(composition: Tensor) -> Tensor:
    """Which molecules [B] are asked for a composition [B, K]."""
    return (composition != OPEN).all(dim=1) if composition.shape[1] else composition.new_zeros(len(composition)).bool()


def log_probability(features: Tensor, mask: Tensor, composition: Tensor) -> Tensor:
    """How well predicted features agree with a composition: log probability [B], up to a constant.

    Each atom has its type by itself, with the predicted probabilities; the numbers of atoms are taken for Gaussian,
    with a variance that does not take part in gradients.

    Args:
        features: [B, N, F] of x̂, whose one-hot part is the mean over what the molecule may become.
        mask: [B, N] real atoms.
        composition: [B, K] atoms of each type.
    """
    likely = chances(features, mask, composition.shape[1])
    missing = composition - likely.sum(dim=1)
    known = likely.detach()
    variance = torch.diag_embed(known.sum(dim=1) + VARIANCE) - known.transpose(1, 2) @ known
    return -0.5 * (missing * torch.linalg.solve(variance, missing[..., None])[..., 0]).sum(dim=1)


def differs(types: Tensor, mask: Tensor, composition: Tensor) -> Tensor:
    """Which molecules [B] that are asked for a composition [B, K] have another one, by their types [B, N]."""
    return asked(composition) & (_counts(types, mask, composition.shape[1]) != composition).any(dim=1)


def with_composition(features: Tensor, mask: Tensor, held: Tensor, composition: Tensor) -> Tensor:
    """Features [B, N, F] whose largest one-hot channels have the composition that is asked for.

    Where they have another, one atom after the other gets a type of which there are too few in place of one of which
    there are too many, the one that is least sure first.

    Args:
        features: of finished molecules.
        mask: [B, N] real atoms.
        held: [B, N] those that keep their types.
        composition: [B, K] atoms of each type.
    """
    types = features[..., : composition.shape[1]].argmax(dim=-1)
    rows = differs(types, mask, composition).nonzero()[:, 0].tolist()
    if not rows:
        return features
    changed = features.clone()
    for row in rows:
        _change(changed[row], types[row], mask[row], held[row], composition[row])
    return changed


def _change(features: Tensor, types: Tensor, mask: Tensor, held: Tensor, composition: Tensor) -> None:
    """Change features [N, F] and types [N] of one molecule, in place, as far as what is held allows."""
    kinds = torch.arange(len(composition), device=types.device)
    while True:
        over = _counts(types[None], mask[None], len(kinds))[0] - composition
        scores = features[:, kinds]
        cost = scores.gather(1, types[:, None]) - scores
        possible = (mask & ~held & (over[types] > 0))[:, None] & (over < 0)
        if not bool(possible.any()):
            return
        atom, kind = divmod(int(cost.masked_fill(~possible, torch.inf).argmin()), len(kinds))
        types[atom] = kind
        features[atom, kinds] = (kinds == kind).to(features) / ONE_HOT_SCALE


def _counts(types: Tensor, mask: Tensor, kinds: int) -> Tensor:
    """Atoms of each type [B, K], by types [B, N]."""
    return ((types[..., None] == torch.arange(kinds, device=types.device)) & mask[..., None]).sum(dim=1)
