"""The training objective (EAD eq 11, EDM's `l2` form, normalised per molecule)."""

import torch
from torch import Tensor

from ead_core.diffusion.corruption import Corrupted


def noise_loss(predicted: Tensor, corrupted: Corrupted, mask: Tensor, level_weights: Tensor) -> Tensor:
    """Per-molecule loss [B] = Σ_i ½ w_i ‖ε_i − ε̂_i‖² / ((3 + F)·N_b), N_b the real atoms of the molecule.

    At level 0 the feature part is dropped: EDM's −log p(h | z_0) does not depend on the network. EDM divides by
    the padded atom count instead; on equal-size batches the two agree.

    Args:
        predicted: ε̂ [B, N, 3 + F].
        corrupted: the noised batch.
        mask: [B, N] real atoms.
        level_weights: w [B, N] of what the network has for its output (parametrisation.py), 1 if that is ε̂.
    """
    squared = 0.5 * (corrupted.eps - predicted) ** 2
    keep_features = (corrupted.levels > 0)[..., None].to(squared.dtype)
    per_atom = torch.cat([squared[..., :3], squared[..., 3:] * keep_features], dim=-1).sum(dim=-1)
    real = mask.to(per_atom.dtype)
    weighted = per_atom * level_weights.to(per_atom.dtype) * real
    return weighted.sum(dim=1) / (predicted.shape[-1] * real.sum(dim=1))
