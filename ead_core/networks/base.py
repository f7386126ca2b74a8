"""What a backbone must offer: the network of atoms inside a denoiser or a predictor.

Legend: B molecules, N padded atoms, F feature channels per atom.
"""

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

SMALLEST_MATRIX = 17  # orthogonalising fewer rows or columns than this costs more than it gives


class Backbone(Protocol):
    """A network over atoms that have a time each. Implementations are `torch.nn.Module`s.

    Attributes:
        equivariant: whether the displacement turns with the coordinates. One that is not may learn to, or be made so
            in law (symmetrised.py).
        num_draws: uniform random numbers per molecule that a call asks for; 0 for a deterministic network.
        takes_estimate: whether it can be built with `network.self_conditioning`; its calls then take an `estimate`.
        floats_per_pair, floats_per_atom: numbers that a call without gradients holds at most, as the sum of so many
            for each ordered pair of atoms and so many for each atom.
        input_layer: takes the features first and the context last among its columns, so that it can be widened.
        output_layer: gives the features first among its rows.
        estimate_layer: takes the features of an estimate as its columns; None in a network that is given none.
    """

    equivariant: ClassVar[bool]
    num_draws: int
    takes_estimate: bool
    floats_per_pair: int
    floats_per_atom: int

    @property
    def input_layer(self) -> nn.Linear:
        """The first layer: features first and context last among its columns."""
        ...

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer: features first among its rows."""
        ...

    @property
    def estimate_layer(self) -> nn.Linear | None:
        """The layer of an estimate's features, which are its columns."""
        ...

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The matrices that the optimiser may orthogonalise: none of the first and last layer (Muon's authors)."""
        ...

    def zero_at_start(self) -> list[nn.Parameter]:
        """The parameters that are zero in a network with fresh weights."""
        ...

    def __call__(
        self,
        x: Tensor,
        h: Tensor,
        time: Tensor,
        mask: Tensor,
        context: Tensor | None,
        draws: Tensor | None,
        estimate: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Displacement [B, N, 3], which ignores a translation of x, and features [B, N, F].

        Padding atoms influence nothing; the caller masks their outputs.

        Args:
            x: coordinates [B, N, 3] in Å.
            h: features [B, N, F].
            time: t/T of every atom [B, N].
            mask: real atoms [B, N].
            context: [B, 2P], the same for all atoms of a molecule; None if the network has been built without.
            draws: uniforms in (0, 1) [B, num_draws]; None if there are none.
            estimate: what the network itself has predicted of the clean molecules before [B, N, 3 + F], in the frame of
                x and the units of x and h; zero for molecules of which it has predicted nothing yet. Given to networks
                that are built with `network.self_conditioning`, and to no others.
        """
        ...


class MessagePassing(nn.Module):
    """Base of the networks here: a layer in, blocks of messages over all pairs, a layer out.

    Attributes:
        causal: whether an atom hears only those that are no noisier than itself.
        embed, blocks, readout: the three parts.
    """

    equivariant: ClassVar[bool] = True
    num_draws: int = 0
    takes_estimate: bool = False
    embed: nn.Linear
    blocks: nn.Module
    readout: nn.Linear

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    @property
    def input_layer(self) -> nn.Linear:
        """The first layer, `embed`."""
        return self.embed

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer, `readout`."""
        return self.readout

    @property
    def estimate_layer(self) -> nn.Linear | None:
        """None, unless a network says so."""
        return None

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The larger matrices of the blocks."""
        return larger_matrices(self.blocks)

    def zero_at_start(self) -> list[nn.Parameter]:
        """None, unless a network says so."""
        return []


def larger_matrices(part: nn.Module) -> list[nn.Parameter]:
    """The matrices of a part of a network that are worth orthogonalising."""
    return [p for p in part.parameters() if p.ndim == 2 and min(p.shape) >= SMALLEST_MATRIX]


def atom_inputs(features: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
    """What the first layer takes of every atom: its features, its time, and the context of its molecule.

    Args:
        features: [B, N, F].
        time: [B, N, …].
        context: [B, 2P], or None.
    """
    parts = [features, time]
    if context is not None:
        parts.append(context[:, None, :].expand(-1, features.shape[1], -1))
    return torch.cat(parts, dim=-1)
