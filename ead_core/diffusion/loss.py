"""What training makes small: errors of the noise (EAD eq 11, EDM's `l2` form), or of the clean molecule.

Legend: B molecules, N padded atoms, F features.
"""

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


SMALLEST_DISTANCE = 1e-8  # of what a student has made from what its teacher predicts, in the scaled state
SNR_CLIP = 5.0  # largest weight of an error of the clean molecule (min-SNR-γ, Hang et al. 2023, arXiv 2303.09556)


def pseudo_huber(squared: Tensor, width: float) -> Tensor:
    """√(r² + c²) − c from r² of any shape: r² / 2c for r far below c, r − c far above (Charbonnier et al. 1997)."""
    return (squared + width**2).sqrt() - width


def clean_loss(error: Tensor, mask: Tensor, ratio: Tensor, width: float) -> Tensor:
    """Per-molecule loss [B] = Σ_i min(SNR_i, 5) (d(‖Δx_i‖) + Σ_f d(Δh_if)) / ((3 + F)·N_b), d being pseudo-Huber.

    Coordinates enter by the length of an atom's error, so that the loss is the same for turned molecules.

    Args:
        error: of the clean state [B, N, 3 + F].
        mask: [B, N] atoms that count, N_b of them.
        ratio: signal to noise α² / σ² [B, N].
        width: c.
    """
    squared = error**2
    distance = pseudo_huber(squared[..., :3].sum(dim=-1), width) + pseudo_huber(squared[..., 3:], width).sum(dim=-1)
    real = mask.to(distance.dtype)
    weighted = distance * ratio.clamp_max(SNR_CLIP).to(distance.dtype) * real
    return weighted.sum(dim=1) / (error.shape[-1] * real.sum(dim=1))


def matching_gradient(made: Tensor, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """What to move molecules against so that their law becomes the teacher's: (x̂_s − x̂_t) / |x − x̂_t|.

    The score of noised molecules is (α x̂ − z) / σ², with x̂ the mean of what may be behind them, so that the difference
    of the two x̂ is the gradient of the divergence between student and teacher, up to a factor of the level. The
    distance makes all levels weigh alike (DMD, Yin et al. 2023, arXiv 2311.18828); it is the root mean square over a
    molecule, not the mean of absolute values, so that turned molecules are pushed alike.

    Args:
        made: the student's molecules x [B, N, 3 + F], which have been noised.
        student: x̂_s of the same shape, if they are the student's.
        teacher: x̂_t of the same shape, if they were the teacher's.
        mask: [B, N] real atoms.
    """
    squared = ((made - teacher) ** 2).sum(dim=(1, 2)) / (made.shape[-1] * mask.sum(dim=1))
    return (student - teacher) / squared.sqrt().clamp_min(SMALLEST_DISTANCE)[:, None, None]
