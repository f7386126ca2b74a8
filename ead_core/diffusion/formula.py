"""Keeping to a formula: elements that are predicted are drawn to a composition while the geometry can still follow.

How many atoms of each element a molecule will have is planned in its geometry, before types can be read off their own
noisy channels. So types that are merely set do not help: the geometry that forms around them is that of others. What
helps is the gradient, by the noised state, of the probability that the molecule predicted from it has the composition
(reconstruction guidance, Ho et al. 2022, arXiv 2204.03458): it moves atoms to where they are taken for what is asked.

Legend: B molecules, N padded atoms, F features, K types.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.data.tensors import ONE_HOT_SCALE
from ead_core.diffusion.grid import inside

OPEN = -1  # in a composition: nothing is asked
LEAST = 0.01  # probability of a type: predictions are means and may lie outside of 0 … 1
VARIANCE = 0.1  # of each number of atoms, in addition to what the probabilities leave open
LARGEST_PULL = 1.0  # root mean square, in units of the noise, that the pull of one step may have


@dataclass(frozen=True)
class FormulaGuidance:
    """The pull towards a composition.

    Attributes:
        scale: 1 is the gradient as it is.
        levels: between which shares of T there is a pull.
        at_once: molecules whose gradient is taken at once.
    """

    scale: float
    levels: tuple[float, float]
    at_once: int

    def pulled(self, levels: Tensor, mask: Tensor, composition: Tensor, top: int) -> Tensor:
        """Which molecules [B] are pulled: with a composition [B, K], and an atom where there is a pull; `top` is T."""
        return asked(composition) & (self.within(levels, top) & mask).any(dim=1)

    def noise(self, gradient: Tensor, sigma: Tensor, levels: Tensor, mask: Tensor, top: int) -> Tensor:
        """What is taken from ε̂ [B, N, 3 + F].

        Args:
            gradient: of the log probability by the state, of that shape.
            sigma: [B, N, 1] of the levels.
            levels: [B, N].
            mask: [B, N] atoms that move.
            top: T.
        """
        pull = self.scale * sigma * gradient * (self.within(levels, top) & mask)[..., None]
        size = (pull.flatten(1).square().sum(dim=1) / (mask.sum(dim=1).clamp_min(1) * pull.shape[2])).sqrt()
        return pull * (LARGEST_PULL / size.clamp_min(LARGEST_PULL))[:, None, None]

    def within(self, levels: Tensor, top: int) -> Tensor:
        """At which levels, of any shape, there is a pull."""
        return (levels > 0) & (self.scale > 0) & inside(levels, self.levels, top)


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
    chances = (ONE_HOT_SCALE * features[..., : composition.shape[1]]).clamp(LEAST, 1)
    chances = chances / chances.sum(dim=-1, keepdim=True) * mask[..., None]
    missing = composition - chances.sum(dim=1)
    known = chances.detach()
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
