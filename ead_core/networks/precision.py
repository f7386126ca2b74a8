"""With how many bits the network is computed: what the settings `training.precision` and `sampler.precision` mean.

`bf16` evaluates the network under torch's autocast: the matrix products on edges and features take bfloat16, while what
goes in and comes out, coordinates and their differences, weights, moves, noise, losses, optimiser and averaged weights
stay float32. `fp64` is for training alone and makes the weights float64.
"""

import torch
from torch import Tensor, nn

from ead_core.networks.inputs import DenoiserFunction, DenoiserInput


def choose(precision: str, device: torch.device) -> str:
    """What a setting stands for on a device; `auto` is bf16 on GPUs made for it, else fp32.

    On CPUs bf16 gains much with wide networks where there are matrix tiles, little or nothing with those that are
    bundled, and it loses elsewhere, so `auto` does not choose it there (docs/results/precision.md).
    """
    if precision != "auto":
        return precision
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if supported else "fp32"


def weight_type(precision: str) -> torch.dtype:
    """The number format of the weights in training, and so of states and losses."""
    return torch.float64 if precision == "fp64" else torch.float32


def autocasts_bf16(like: Tensor) -> bool:
    """Whether products on edges and features are in bfloat16 here, on the device of a tensor."""
    device = like.device.type
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16


def no_autocast(like: Tensor) -> torch.autocast:
    """A block without autocast, for what is too fine for bfloat16: products with coordinates, first and last layers."""
    return torch.autocast(like.device.type, enabled=False)


def with_precision(denoiser: nn.Module, precision: str) -> DenoiserFunction:
    """The denoiser with calls in a precision; its input and output keep the type of the weights.

    Args:
        denoiser: on its device. With float64 weights it is computed in float64, whatever the setting.
        precision: a value of the settings.
    """
    weight = next(denoiser.parameters())
    if choose(precision, weight.device) != "bf16" or weight.dtype != torch.float32:
        return denoiser

    def compute(inputs: DenoiserInput) -> Tensor:
        with torch.autocast(weight.device.type, torch.bfloat16):
            output: Tensor = denoiser(inputs)
        return output

    return compute
