"""One exact reverse move per atom, the way back up, and decoding (EAD eqs 6–8; z-gauge).

With unequal levels the zero-centre subspace is only approximately preserved by per-atom moves; the caller
re-centres after every update. For spreads far below T the error is 10⁻⁵ and smaller.

Legend: B molecules, N padded atoms, F features.
"""

import torch
from torch import Tensor

from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.molecules import centre


def ancestral_move(z: Tensor, eps: Tensor, t: Tensor, s: Tensor, noise: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Draw z_s ~ q(z_s | z_t, x̂) per atom; where s = t the state stays.

    Args:
        z: state [B, N, 3 + F] at levels `t` [B, N].
        eps: predicted noise ε̂ of the same shape.
        t: levels of `z`.
        s: target levels, s ≤ t.
        noise: standard normals of the shape of `z`, centred in its coordinates.
        schedule: α and σ.
    """
    move = schedule.reverse(t, s)
    mean_z, mean_eps, scale = (c[..., None].to(z.dtype) for c in (move.mean_z, move.mean_eps, move.noise))
    return mean_z * z - mean_eps * eps + scale * noise


def renoise(z: Tensor, t: Tensor, s: Tensor, noise: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Take z at levels s back up to t: z_t = α_{t|s} z + σ_{t|s} ξ. Arguments as in `ancestral_move`."""
    move = schedule.reverse(t, s)
    return move.alpha_step[..., None].to(z.dtype) * z + move.sigma_step[..., None].to(z.dtype) * noise


def decode_positions(z: Tensor, eps: Tensor, noise: Tensor, mask: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Coordinates [B, N, 3] from the state at level 0: x̂(z_0) + (σ_0/α_0)·Pξ, as EDM decodes.

    Args:
        z: state at level 0.
        eps: predicted noise at `z`.
        noise: standard normals [B, N, 3].
        mask: real atoms.
        schedule: α and σ.
    """
    zero = torch.zeros(1, dtype=torch.long, device=z.device)
    alpha, sigma = schedule.alpha(zero).to(z.dtype), schedule.sigma(zero).to(z.dtype)
    return centre((z[..., :3] - sigma * eps[..., :3] + sigma * noise) / alpha, mask)
