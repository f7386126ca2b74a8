"""Noising molecules with a level per atom (EAD Algorithm 1, eq 10).

Legend: B molecules, N padded atoms, F features. All randomness comes from the generator that is passed in.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ead_core.config import DiffusionConfig
from ead_core.diffusion.gauge import Gauge

FOCUS, FOCUS_WIDTH = 0.28, 0.5  # median of t*/T where elements are decided, and deviation of its logit

DUMMY_SHARE = 0.5  # of the dummies have a level of their own kind, so that they learn to appear late

# Their offsets δ from uniforms u, C and the levels above t* [ASSUMPTION: which of them the paper means].
DUMMY_RULES: dict[str, Callable[[Tensor, int, Tensor], Tensor]] = {
    "half": lambda u, interval, above: (u * (interval + 1)).long(),  # U{0..C}
    "upper": lambda u, interval, above: interval - (u * (interval // 2 + 1)).long(),  # U{C/2..C}
    "top": lambda u, interval, above: torch.full_like(u, interval, dtype=torch.long),  # C
    "late": lambda u, interval, above: (u * (above + 1)).long(),  # t_i ~ U{t*..T}
}


@dataclass(frozen=True)
class Corrupted:
    """A noised batch: `z` and the noise `eps` to predict [B, N, 3 + F], and the `levels` [B, N]."""

    z: Tensor
    eps: Tensor
    levels: Tensor

    def select(self, rows: Tensor) -> "Corrupted":
        """The molecules at `rows`."""
        return Corrupted(self.z[rows], self.eps[rows], self.levels[rows])


def draw_levels(
    mask: Tensor,
    diffusion: DiffusionConfig,
    generator: torch.Generator | None,
    power: float = 1.0,
    dummies: Tensor | None = None,
    focus: float = 0.0,
) -> Tensor:
    """Levels [B, N] = clamp(t* + δ_i, 0, T) with t* ~ U{0..T} per molecule and δ_i per atom (Algorithm 1).

    `offset_mode=uniform` draws δ_i ~ U{−C..C}; `scaled` first draws a spread r ~ U{0..C} per molecule and then
    δ_i ~ U{−r..r}, so that nearly synchronous molecules are seen often [ASSUMPTION].

    Args:
        mask: [B, N] real atoms.
        diffusion: T, C (0 is synchronous training), and the modes.
        generator: source of randomness.
        power: t* is the whole part of (T + 1) u^power for a uniform u, so that above 1 low levels are drawn more
            often than the paper's uniform ones (docs/results/training-choices.md).
        dummies: [B, N] slots without an atom; half of them follow `dummy_rule`.
        focus: the share of molecules whose t* / T is drawn from a logit-normal around 0.28 instead.
    """
    steps, interval = diffusion.steps, diffusion.interval
    batch, device = mask.shape[0], mask.device
    drawn = torch.rand((batch, 1), generator=generator, device=device, dtype=torch.float64) ** power
    if focus:
        chosen = torch.rand((batch, 1), generator=generator, device=device) < focus
        normals = torch.randn((batch, 1), generator=generator, device=device, dtype=torch.float64)
        drawn = torch.where(chosen, torch.sigmoid(math.log(FOCUS / (1 - FOCUS)) + FOCUS_WIDTH * normals), drawn)
    base = (drawn * (steps + 1)).long()
    spread = torch.full_like(base, interval)
    if diffusion.offset_mode == "scaled":
        spread = torch.randint(0, interval + 1, (batch, 1), generator=generator, device=device)
    uniform = torch.rand(mask.shape, generator=generator, device=device)
    offsets = (uniform * (2 * spread + 1)).long() - spread
    if dummies is not None:
        again = torch.rand(mask.shape, generator=generator, device=device)
        chosen = dummies & (torch.rand(mask.shape, generator=generator, device=device) < DUMMY_SHARE)
        offsets = torch.where(chosen, DUMMY_RULES[diffusion.dummy_rule](again, interval, steps - base), offsets)
    return (base + offsets).clamp(0, steps)


def corrupt(
    state: Tensor,
    levels: Tensor,
    mask: Tensor,
    gauge: Gauge,
    generator: torch.Generator | None,
) -> Corrupted:
    """Form z = α_t x + σ_t ε atom by atom, and keep what the gauge keeps of z and of ε."""
    noise = torch.randn(state.shape, generator=generator, device=state.device, dtype=state.dtype)
    return noised(state, levels, mask, gauge, noise)


def noised(state: Tensor, levels: Tensor, mask: Tensor, gauge: Gauge, noise: Tensor) -> Corrupted:
    """A batch with given standard normals of the shape of `state` as its noise; else as `corrupt`.

    With unequal levels Σ σ_i ε_i ≠ 0 even for centred ε, hence the second projection.
    """
    eps = gauge.project_noise(gauge.noise(noise, mask), levels, mask)
    alpha = gauge.schedule.alpha(levels)[..., None].to(state.dtype)
    sigma = gauge.schedule.sigma(levels)[..., None].to(state.dtype)
    return Corrupted(gauge.project_state(alpha * state + sigma * eps, levels, mask), eps, levels)
