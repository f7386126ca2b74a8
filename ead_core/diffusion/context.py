"""What the network is told of a molecule as a whole: context channels, how some are hidden, and what guidance does.

Each property has two channels, [(c − mean) / MAD, 1] where it is known and [0, 0] where it is not, which the network
learns from molecules whose properties are hidden (classifier-free guidance, Ho and Salimans 2022).

Legend: B molecules, P properties.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.config import ConditioningConfig
from ead_core.data.labels import PropertyStatistics
from ead_core.data.properties import counted_element


def encode(values: Mapping[str, NDArray[np.float64]], statistics: Mapping[str, PropertyStatistics], num: int) -> Tensor:
    """Context [B, 2P] in float32, the properties in the order of `statistics`.

    Args:
        values: [B] by property, in border units, NaN where unknown; a property that is left out is unknown to all.
        statistics: of the P properties in training.
        num: B.
    """
    context = np.zeros((num, len(statistics), 2))
    for index, (name, seen) in enumerate(statistics.items()):
        if name in values:
            known = ~np.isnan(values[name])
            context[known, index, 0] = (values[name][known] - seen.mean) / seen.mad
            context[known, index, 1] = 1
    return torch.from_numpy(context).float().flatten(1)


def hide(context: Tensor, conditioning: ConditioningConfig, generator: torch.Generator | None) -> Tensor:
    """The context [B, 2P] with all properties of a molecule hidden with p = `drop_all`, else each with `drop_each`.

    Of a share `drop_others` of the molecules one measured property is left instead, of which it is known what it is,
    and of a share `drop_measured` the numbers of atoms.
    """
    channels = context.unflatten(1, (-1, 2))
    draws = torch.rand((len(context), channels.shape[1] + 1), generator=generator, device=context.device)
    hidden = draws[:, 1:] < conditioning.drop_each
    if conditioning.drop_others or conditioning.drop_measured:
        hidden = _by_kind(hidden, channels[..., 1] > 0, conditioning, generator)
    hidden = (draws[:, :1] < conditioning.drop_all) | hidden
    return (channels * ~hidden[..., None]).flatten(1)


def _by_kind(
    hidden: Tensor, known: Tensor, conditioning: ConditioningConfig, generator: torch.Generator | None
) -> Tensor:
    """What is hidden [B, P] where some molecules keep one measured property, or none of them."""
    counts = torch.tensor([counted_element(name) is not None for name in conditioning.properties], device=known.device)
    draws = torch.rand((len(known), known.shape[1] + 1), generator=generator, device=known.device)
    among = (known & ~counts).double() * (1 + draws[:, 1:])  # 0 where there is nothing to keep
    only = torch.nn.functional.one_hot(among.argmax(dim=1), known.shape[1]).bool()
    alone = (draws[:, :1] < conditioning.drop_others) & (among > 0).any(dim=1, keepdim=True)
    counted = (draws[:, :1] >= 1 - conditioning.drop_measured).expand_as(hidden)
    return torch.where(alone, ~only, torch.where(counted, ~counts.expand_as(hidden), hidden))


def conditioned(context: Tensor) -> Tensor:
    """Whether anything is known of each molecule [B]."""
    return (context[:, 1::2] > 0).any(dim=1)


def guide(eps: Tensor, free: Tensor, guidance: Tensor) -> Tensor:
    """ε̃ = (1 + ω) ε(c) − ω ε(∅): the prediction with the context, away from the one without; ω is [B, N, 1]."""
    return (1 + guidance) * eps - guidance * free
