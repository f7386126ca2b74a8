"""Equivariance by stochastic symmetrisation (SymDiff, arXiv 2410.06262), of any backbone.

The backbone sees x Γ with a random orthogonal matrix Γ per molecule, and the displacement is what it answers times Γᵀ.
If Γ(x S) has the law of Sᵀ Γ(x) for orthogonal S, then the displacement of x S has the law of that of x, times S,
whatever the backbone: turned molecules are equally likely. A uniform Γ = G is one such kernel (`haar`), Γ = G Q(x G)
with a network Q another (`learned`): for x S, Sᵀ G is as likely as G, and gives exactly Sᵀ Γ. SymDiff's code has
Γ = Q(x G) Gᵀ instead (`compose=released`), which is none as soon as Q depends on its input.

Γ is of O(3), reflections included, as in SymDiff: mirror images of a molecule are equally likely, too.

Legend: B molecules, N padded atoms, H hidden features.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ead_core.common.noise import Stream, normal
from ead_core.config import NetworkConfig
from ead_core.data.tensors import about
from ead_core.networks.base import Backbone, larger_matrices
from ead_core.networks.precision import no_autocast
from ead_core.networks.transformer import Surroundings, TimeEmbedding, Transformer, connections, floats_held

TURN_DRAWS, NOISE_DRAWS = 4, 2  # uniforms that a Haar matrix and the noise of all atoms of a molecule are made of
WORD = 1 << 24  # a float32 between 0 and 1 has 24 bits
FLOOR = 1e-2  # shorter columns, and smaller sines between two of them, have no direction


def haar(draws: Tensor) -> Tensor:
    """Orthogonal matrices [B, 3, 3], uniform on O(3), of uniforms [B, 4].

    A uniform unit quaternion (Shoemake 1992) makes a rotation; the fourth number decides about the reflection x → −x.
    """
    share, first, second, side = draws.unbind(dim=1)
    near, far = torch.sqrt(1 - share), torch.sqrt(share)
    a, b = 2 * math.pi * first, 2 * math.pi * second
    x, y, z, w = near * a.sin(), near * a.cos(), far * b.sin(), far * b.cos()
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, dim=1).view(-1, 3, 3) * torch.where(side < 0.5, -1.0, 1.0)[:, None, None]


def orthonormal(matrices: Tensor) -> Tensor:
    """The Q of QR with positive diagonal [B, 3, 3]: Gram and Schmidt's on columns, in closed form.

    Columns that have no direction of their own get one, so that all values and gradients are finite.
    """
    first, second, third = matrices.unbind(dim=-1)
    axes = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    q1 = _unit(first, axes[0])
    away = axes[q1.abs().argmin(dim=-1)]
    normals = torch.linalg.cross(q1, _unit(second, away))
    q3 = _unit(normals, torch.linalg.cross(q1, away))
    q2 = torch.linalg.cross(q3, q1)
    side = torch.where((third * q3).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0).to(q3.dtype)
    return torch.stack([q1, q2, side * q3], dim=-1)


def _unit(v: Tensor, otherwise: Tensor) -> Tensor:
    """Unit vectors along v [B, 3], or along `otherwise`, [B, 3] or [3], where v is too short."""
    v = torch.where((v**2).sum(dim=-1, keepdim=True) < FLOOR**2, otherwise, v)
    return v / v.norm(dim=-1, keepdim=True)


def atom_noise(draws: Tensor, atoms: int) -> Tensor:
    """Standard normals [B, N, 3] of uniforms [B, 2]: those of an atom depend on nothing but its place."""
    high, low = (draws * WORD).long().unbind(dim=1)
    return normal(high * WORD + low, torch.zeros_like(low), 0, Stream.NETWORK, (atoms, 3), draws.dtype)


class HaarFrames(nn.Module):
    """Γ = G, uniform on O(3): the backbone learns from molecules in all orientations alike (SymDiff-H)."""

    num_draws = TURN_DRAWS
    floats_per_pair = floats_per_atom = 0

    def forward(self, x: Tensor, time: Tensor, mask: Tensor, draws: Tensor) -> Tensor:
        """Γ [B, 3, 3] of molecules."""
        return haar(draws)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """None."""
        return []

    def zero_at_start(self) -> list[nn.Parameter]:
        """None."""
        return []


class LearnedFrames(nn.Module):
    """Γ of a network, which sees the molecule in a uniform frame G, with noise at every atom (γ of SymDiff).

    It starts near Γ = G.

    Args:
        config: network section.
    """

    num_draws = TURN_DRAWS + NOISE_DRAWS

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden, self.released = config.frame_features, config.compose == "released"
        self.floats_per_pair, self.floats_per_atom = floats_held(config.edge_features, hidden)
        self.surroundings = Surroundings(config.edge_features, hidden)
        self.embed = nn.Linear(6 + hidden, hidden)
        self.time = TimeEmbedding(hidden)
        self.blocks = Transformer(hidden, config.frame_layers, config.frame_heads, config.modulation)
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)  # else tokens grow until Q is constant (decision 27)
        self.readout = nn.Sequential(nn.Linear(hidden, hidden // 2), nn.GELU(), nn.Linear(hidden // 2, 9))

    def forward(self, x: Tensor, time: Tensor, mask: Tensor, draws: Tensor) -> Tensor:
        """Γ [B, 3, 3] of molecules."""
        turn = haar(draws[:, :TURN_DRAWS])
        answer = self._answer(x @ turn, time, mask, atom_noise(draws[:, TURN_DRAWS:], x.shape[1]))
        return answer @ turn.mT if self.released else turn @ answer

    def _answer(self, x: Tensor, time: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        """Q [B, 3, 3] of a molecule as it is seen."""
        everybody, x = connections(mask), about(x, mask)
        tokens = self.embed(torch.cat([x, noise, self.surroundings(x, everybody)], dim=-1))
        tokens = self.norm(self.blocks(tokens, self.time(time), everybody))
        weights = mask.to(x.dtype) / mask.sum(dim=1, keepdim=True)
        change: Tensor = self.readout((tokens * weights[..., None]).sum(dim=1))
        return orthonormal(change.view(-1, 3, 3) + torch.eye(3, dtype=x.dtype, device=x.device))

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The larger matrices of the blocks."""
        return larger_matrices(self.blocks)

    def zero_at_start(self) -> list[nn.Parameter]:
        """What makes the gates of the blocks."""
        return self.blocks.zero_at_start()


class Symmetrised(nn.Module):
    """A backbone in random frames, which is equivariant in law, not draw by draw.

    Args:
        backbone: any, equivariant or not.
        frames: makes Γ.
    """

    equivariant: ClassVar[bool] = False

    def __init__(self, backbone: Backbone, frames: HaarFrames | LearnedFrames) -> None:
        super().__init__()
        self.backbone, self.frames = backbone, frames
        self.num_draws, self.takes_estimate = frames.num_draws + backbone.num_draws, backbone.takes_estimate
        self.floats_per_pair = max(backbone.floats_per_pair, frames.floats_per_pair)
        self.floats_per_atom = max(backbone.floats_per_atom, frames.floats_per_atom) + 12

    @property
    def input_layer(self) -> nn.Linear:
        """That of the backbone."""
        return self.backbone.input_layer

    @property
    def output_layer(self) -> nn.Linear:
        """That of the backbone."""
        return self.backbone.output_layer

    @property
    def estimate_layer(self) -> nn.Linear | None:
        """That of the backbone."""
        return self.backbone.estimate_layer

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Those of the backbone and of the frames."""
        return [*self.backbone.hidden_matrices(), *self.frames.hidden_matrices()]

    def zero_at_start(self) -> list[nn.Parameter]:
        """Those of the backbone and of the frames."""
        return [*self.backbone.zero_at_start(), *self.frames.zero_at_start()]

    def forward(
        self,
        x: Tensor,
        h: Tensor,
        time: Tensor,
        mask: Tensor,
        context: Tensor | None,
        draws: Tensor | None,
        estimate: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Displacement and features of all atoms (see `Backbone`)."""
        assert draws is not None  # it asks for some
        own, others = draws.to(x.dtype).split([self.frames.num_draws, self.backbone.num_draws], dim=1)
        with no_autocast(x):
            frame = self.frames(x, time, mask, own)
            turned = x @ frame
            told = (
                {} if estimate is None else {"estimate": torch.cat([estimate[..., :3] @ frame, estimate[..., 3:]], -1)}
            )
        draws = others if self.backbone.num_draws else None
        moved, features = self.backbone(turned, h, time, mask, context, draws, **told)
        with no_autocast(x):
            return moved @ frame.mT, features


def _turned(estimate: Tensor, frame: Tensor) -> Tensor:
    """An estimate x̄ [B, N, 3 + F] in the frame."""
    return torch.cat([estimate[..., :3] @ frame, estimate[..., 3:]], dim=-1)


# What `network.symmetrise` may be.
SYMMETRISATIONS: dict[str, Callable[[Backbone, NetworkConfig], Backbone]] = {
    "none": lambda backbone, config: backbone,
    "haar": lambda backbone, config: Symmetrised(backbone, HaarFrames()),
    "learned": lambda backbone, config: Symmetrised(backbone, LearnedFrames(config)),
}
