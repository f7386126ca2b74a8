"""What one network call gets.

Legend: B molecules, N padded atoms, F features, P properties, K random numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class DenoiserInput:
    """Everything that one network call gets.

    Attributes:
        z: noised state [B, N, 3 + F].
        levels: integer levels [B, N].
        mask: real atoms [B, N].
        context: what is known of the molecules as a whole [B, 2P]; None if nothing is.
        draws: uniforms in (0, 1) [B, K] for a network that asks for some; None otherwise.
        estimate: what was predicted of the clean molecules before [B, N, 3 + F], zero for those of which nothing was,
            for a network with self-conditioning; None if nothing was of any.
    """

    z: Tensor
    levels: Tensor
    mask: Tensor
    context: Tensor | None = None
    draws: Tensor | None = None
    estimate: Tensor | None = None


DenoiserFunction = Callable[[DenoiserInput], Tensor]  # its output [B, N, 3 + F]
