"""A transformer over atoms that have a time each (adaLN of DiT, Peebles and Xie 2023), and what it sees of distances.

Legend: B molecules, N padded atoms, H hidden features, K Gaussians of a distance.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from ead_core.networks.egnn_rbf import TIME_FREQUENCIES, fourier_features
from ead_core.networks.pairs import pair_differences

PARTS = 6  # of a block's modulation: shift, scale and gate, each for attention and MLP
WIDEST = 3.0  # Å; means and widths of the Gaussians start uniformly below it (SymDiff's release)
SMALLEST_WIDTH = 0.01  # Å


def floats_held(count: int, width: int) -> tuple[int, int]:
    """Numbers that K Gaussians take at most for each pair of atoms, and blocks of H features for each atom."""
    return 3 * count + 12, 22 * width + 40


def connections(mask: Tensor, time: Tensor | None = None) -> Tensor:
    """Which atoms [B, N or 1, N] (last) an atom attends to: all real ones.

    Args:
        mask: real atoms [B, N].
        time: [B, N]; if given, only atoms that are no noisier than the receiver, and every atom itself.
    """
    if time is None:
        return mask[:, None, :]
    itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return (mask[:, None, :] & (time[:, None, :] <= time[:, :, None])) | itself


class Surroundings(nn.Module):
    """How far from an atom the others are: learned Gaussians of the distances, averaged over the atoms it attends to.

    Args:
        count: K.
        width: features that are made of them.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.means = nn.Parameter(WIDEST * torch.rand(count))
        self.widths = nn.Parameter(WIDEST * torch.rand(count))
        self.mix = nn.Linear(count, width)

    def forward(self, x: Tensor, senders: Tensor) -> Tensor:
        """Features [B, N, width] of coordinates x [B, N, 3]; `senders` as of `connections`."""
        distance = torch.sqrt(pair_differences(x)[1] + 1e-8)
        deviation = (distance[..., None] - self.means) / (self.widths.abs() + SMALLEST_WIDTH)
        weights = senders.to(x.dtype) / senders.sum(dim=-1, keepdim=True)
        basis = torch.exp(-0.5 * deviation**2)
        return self.mix((weights.expand_as(distance)[:, :, None] @ basis)[:, :, 0])


class TimeEmbedding(nn.Sequential):
    """Times [B, N] as features [B, N, H]."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(2 * TIME_FREQUENCIES + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, time: Tensor) -> Tensor:
        """The features."""
        embedded: Tensor = super().forward(fourier_features(time))
        return embedded


class Offset(nn.Module):
    """What a block adds to the modulation that all blocks share (adaLN-single, PixArt-α)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, shared: Tensor) -> Tensor:
        """The modulation of the block."""
        return shared + self.offset


def modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Features [B, N, H], scaled and shifted."""
    return torch.addcmul(shift, h, 1 + scale)


class Block(nn.Module):
    """Attention between the atoms of a molecule, then a gated MLP of every atom.

    Args:
        width: H.
        heads: of attention.
        modulation: makes shifts, scales and gates [B, N, 6 H] of what all blocks are given.
    """

    def __init__(self, width: int, heads: int, modulation: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = modulation
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)

    def forward(self, h: Tensor, condition: Tensor, attends: Tensor) -> Tensor:
        """Advance the features h [B, N, H]; `attends` as of `connections`."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(condition).chunk(PARTS, dim=-1)
        h = torch.addcmul(h, gate, self._attention(modulated(self.norm(h), shift, scale), attends))
        left, right = self.mlp_in(modulated(self.norm(h), mlp_shift, mlp_scale)).chunk(2, dim=-1)
        return torch.addcmul(h, mlp_gate, self.mlp_out(silu(left) * right))

    def _attention(self, h: Tensor, attends: Tensor) -> Tensor:
        query, key, value = self.attention_in(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heard = scaled_dot_product_attention(query, key, value, attn_mask=attends[:, None])
        answer: Tensor = self.attention_out(heard.transpose(1, 2).flatten(2))
        return answer


class Transformer(nn.Module):
    """Blocks without positions, which start as the identity.

    Args:
        width: H.
        layers: blocks.
        heads: of attention, a divisor of H.
        modulation: `shared`, one layer for all blocks and an offset for each; or `block`, a layer for each.
    """

    def __init__(self, width: int, layers: int, heads: int, modulation: str) -> None:
        super().__init__()
        shared = modulation == "shared"
        self.shared = nn.Linear(width, PARTS * width) if shared else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(width, heads, Offset(PARTS * width) if shared else nn.Linear(width, PARTS * width))
            for _ in range(layers)
        )
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)

    def forward(self, h: Tensor, time: Tensor, attends: Tensor) -> Tensor:
        """Features [B, N, H] of features [B, N, H], embedded times [B, N, H] and `connections`."""
        condition = self.shared(time)
        for block in self.blocks:
            h = block(h, condition, attends)
        return h

    def zero_at_start(self) -> list[nn.Parameter]:
        """What makes the gates."""
        modulations = [self.shared, *(block.get_submodule("modulation") for block in self.blocks)]
        return [parameter for modulation in modulations for parameter in modulation.parameters()]
