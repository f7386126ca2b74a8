"""How fast an atom changes: what the adaptive schedule looks at (EAD eq 12; which of the three is meant [ASSUMPTION]).

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Attempt:
    """A move that is about to be decided, each part [B, N, 3 + F] in the scaled state.

    Attributes:
        start: z before it.
        mean: where it leads without its own noise.
        end: where it leads.
        change: of the prediction x̂ since the atom left the grid step above.
    """

    start: Tensor
    mean: Tensor
    end: Tensor
    change: Tensor


@dataclass(frozen=True)
class Velocity:
    """A kind of velocity.

    Attributes:
        length: [B, N] of an attempt.
        noisy: whether the noise of the very move is in it; then `sampler.decision` says whether it counts.
        of_prediction: whether it needs the change of x̂, which is else not computed.
    """

    length: Callable[[Attempt], Tensor]
    noisy: bool = False
    of_prediction: bool = False


VELOCITIES = {
    "z": Velocity(lambda attempt: (attempt.end - attempt.start).norm(dim=-1), noisy=True),
    "mean": Velocity(lambda attempt: (attempt.mean - attempt.start).norm(dim=-1)),
    "x0": Velocity(lambda attempt: attempt.change.norm(dim=-1), of_prediction=True),
}
