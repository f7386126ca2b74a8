"""What the output of the network means: the noise ε, the clean molecule x, v (Salimans and Ho 2022), or a mixture.

All are linear in each other where z = α x + σ ε is known, so that whoever samples or trains sees the noise alone:
`predicts_noise` converts. Learning them weighs the levels differently: the squared error of each is `weight` times that
of the noise.

Legend: B molecules, N padded atoms, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.networks.inputs import DenoiserFunction, DenoiserInput

Conversion = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Parametrisation:
    """A meaning of the output; α and σ are broadcast to the shapes of the others, [B, N, 3 + F].

    Attributes:
        to_noise: ε̂ from output, z, α and σ.
        from_noise: the output from ε̂, z, α and σ.
        weight: of the squared error of ε̂, from α and σ.
    """

    to_noise: Conversion
    from_noise: Conversion
    weight: Callable[[Tensor, Tensor], Tensor]


LEAST_SIGNAL = 0.2  # α below which `preconditioned` is no longer the noise: x̂ = (z − σ ε̂) / α is hardly defined there

PARAMETRISATIONS = {
    "epsilon": Parametrisation(
        to_noise=lambda output, z, alpha, sigma: output,
        from_noise=lambda eps, z, alpha, sigma: eps,
        weight=lambda alpha, sigma: alpha**0,
    ),
    "x0": Parametrisation(
        to_noise=lambda output, z, alpha, sigma: (z - alpha * output) / sigma,
        from_noise=lambda eps, z, alpha, sigma: (z - sigma * eps) / alpha,
        weight=lambda alpha, sigma: (sigma / alpha) ** 2,
    ),
    "v": Parametrisation(  # v = α ε − σ x
        to_noise=lambda output, z, alpha, sigma: alpha * output + sigma * z,
        from_noise=lambda eps, z, alpha, sigma: (eps - sigma * z) / alpha,
        weight=lambda alpha, sigma: alpha**-2,
    ),
    "preconditioned": Parametrisation(  # x̂ = (z − σ F) / max(α, LEAST_SIGNAL), so that errors of F stay bounded in x̂
        to_noise=lambda output, z, alpha, sigma: _share(alpha) * output + (1 - _share(alpha)) * z / sigma,
        from_noise=lambda eps, z, alpha, sigma: eps / _share(alpha) + (1 - 1 / _share(alpha)) * z / sigma,
        weight=lambda alpha, sigma: _share(alpha) ** -2,
    ),
}


def _share(alpha: Tensor) -> Tensor:
    """α / max(α, LEAST_SIGNAL)."""
    return alpha / alpha.clamp_min(LEAST_SIGNAL)


def clean(eps: Tensor, z: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """x̂ = (z − σ ε̂) / α."""
    return PARAMETRISATIONS["x0"].from_noise(eps, z, alpha, sigma)


def predicts_noise(function: DenoiserFunction, kind: str, schedule: NoiseSchedule) -> DenoiserFunction:
    """A denoiser whose output is ε̂ [B, N, 3 + F], zero where padded.

    Args:
        function: a denoiser with an output of any kind.
        kind: a key of `PARAMETRISATIONS`.
        schedule: α and σ.
    """
    if kind == "epsilon":
        return function
    to_noise = PARAMETRISATIONS[kind].to_noise

    def noise(inputs: DenoiserInput) -> Tensor:
        alpha, sigma = (c(inputs.levels)[..., None].to(inputs.z.dtype) for c in (schedule.alpha, schedule.sigma))
        return to_noise(function(inputs), inputs.z, alpha, sigma) * inputs.mask[..., None].to(inputs.z.dtype)

    return noise


def level_weights(kind: str, levels: Tensor, schedule: NoiseSchedule) -> Tensor:
    """The weight of every atom's squared error of ε̂ [B, N], float64.

    Args:
        kind: a key of `PARAMETRISATIONS`.
        levels: [B, N].
        schedule: α and σ.
    """
    return PARAMETRISATIONS[kind].weight(schedule.alpha(levels), schedule.sigma(levels))
