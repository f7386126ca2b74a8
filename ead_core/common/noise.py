"""Counter-based Gaussian noise: the same molecule gets the same numbers in any batch, order or process.

Philox4x32-10 (Salmon et al. 2011) in int64 operations. The counter names what the numbers are for:
(256·atom + channel // 4, iteration | stream << 28, id_low, id_high); the key is the seed.
"""

import math
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = TypeVar("Words", Tensor, NDArray[np.int64])

_MASK32 = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
MAX_ITERATIONS = 1 << 28
MAX_SEED = (1 << 63) - 1


class Stream(IntEnum):
    """What a draw is used for; streams never share numbers."""

    PRIOR = 0
    STEP = 1
    RENOISE = 2
    DECODE = 3
    POLICY = 4
    SIZE = 5
    SHIFT = 6
    TARGET = 7
    NETWORK = 8
    CORRECTOR = 9
    REPAIR = 10
    RESTART = 11
    BRANCH = 12


def philox(counter: tuple[Words, Words, Words, Words], key: int | Words) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10 of four broadcastable int64 tensors or arrays holding 32-bit words; `key` has 64 bits."""
    c0, c1, c2, c3 = counter
    k0, k1 = _words(key)
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK32, (k1 + _WEYL[1]) & _MASK32
    return c0, c1, c2, c3


def _words(number: Any) -> tuple[Any, Any]:
    """Low and high 32 bits of an int, or of int64 in a tensor or array."""
    return number & _MASK32, (number >> 32) & _MASK32


def _multiply(word: Words, multiplier: int) -> tuple[Words, Words]:
    """High and low 32 bits of a 32 × 32 bit product; int64 wraps, and the mask undoes the arithmetic shift."""
    product = word * multiplier
    return (product >> 32) & _MASK32, product & _MASK32


def _philox_in_numpy(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: int | Tensor) -> tuple[Tensor, ...]:
    """The same words of tensors on the CPU, where NumPy is quicker for few of them."""
    c0, c1, c2, c3 = (word.numpy() for word in counter)
    words = philox((c0, c1, c2, c3), key.numpy() if isinstance(key, Tensor) else key)
    return tuple(torch.from_numpy(word) for word in words)


def uniform(
    seed: int | Tensor, ids: Tensor, iteration: int | Tensor, stream: Stream, columns: Tensor | None = None
) -> Tensor:
    """Uniforms in (0, 1), float64, four per counter value: [B, 4·len(columns)].

    Args:
        seed: 0 … 2⁶³ − 1, one for all or one per molecule [B].
        ids: [B] molecule ids, int64.
        iteration: of the sampler (never the noise level, which can repeat), below 2²⁸; for all or one per molecule.
        stream: what the numbers are for.
        columns: first words of the counter (default: only 0).
    """
    columns = torch.zeros(1, dtype=torch.long, device=ids.device) if columns is None else columns
    position = (torch.as_tensor(iteration, device=ids.device) | int(stream) << 28).reshape(-1, 1)
    key = seed[:, None] if isinstance(seed, Tensor) else seed
    counter = columns[None, :], position, *_words(ids[:, None])
    words = _philox_in_numpy(counter, key) if ids.is_cpu else philox(counter, key)
    shape = (len(ids), len(columns))
    stacked = torch.stack([word.expand(shape) for word in words], dim=-1)
    return ((stacked.double() + 0.5) * 2.0**-32).flatten(1)


def uniforms(
    seed: int | Tensor, ids: Tensor, iteration: int | Tensor, stream: Stream, count: int, dtype: torch.dtype
) -> Tensor:
    """So many uniforms in (0, 1) for each molecule [B, count]; arguments as in `uniform`."""
    columns = torch.arange(-(-count // 4), device=ids.device)
    return uniform(seed, ids, iteration, stream, columns)[:, :count].to(dtype)


def derived_seeds(seed: int | Tensor, ids: Tensor, iteration: int | Tensor, stream: Stream) -> Tensor:
    """A seed [B] of its own for every molecule, of 63 bits; arguments as in `uniform`."""
    high, low = (uniform(seed, ids, iteration, stream)[:, :2] * 2.0**32).long().unbind(dim=1)
    return (high & _MASK32 >> 1) << 32 | low


def normal(
    seed: int | Tensor, ids: Tensor, iteration: int | Tensor, stream: Stream, shape: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    """Standard normals [B, N, channels] keyed by (seed, molecule id, iteration, stream, atom, channel).

    Box–Muller in float64 on pairs of uniforms; cast last. Arguments as in `uniform`.

    Args:
        seed: see `uniform`.
        ids: [B].
        iteration: see `uniform`.
        stream: see `uniform`.
        shape: (N, channels), channels at most 1024.
        dtype: of the result.
    """
    atoms, channels = shape
    blocks = -(-channels // 4)
    atom = torch.arange(atoms, device=ids.device)[:, None]
    columns = (256 * atom + torch.arange(blocks, device=ids.device)).flatten()
    pairs = uniform(seed, ids, iteration, stream, columns).view(len(ids), atoms, 2 * blocks, 2)
    radius, angle = torch.sqrt(-2 * pairs[..., 0].log()), 2 * math.pi * pairs[..., 1]
    normals = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return normals.view(len(ids), atoms, 4 * blocks)[..., :channels].to(dtype)
