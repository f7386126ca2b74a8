"""Operations compiled for this CPU (the C++ files beside this one), whose edge tensors stay in its caches.

They are compiled at the first use; EAD_EDGE_KERNEL decides whether: `auto` (or unset) uses them where they can be had,
`torch` never, and `native` insists. Work is spread over the threads of torch's own OpenMP pool, in pieces whose sums
have a fixed order: results depend neither on the number of threads nor on a molecule's neighbours in the batch.
"""

import ctypes
import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ead_core.errors import ConfigError
from ead_core.networks.native.build import BuildError, shared_library
from ead_core.notes import note

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent  # of the C++ files
VARIABLE, CHOICES = "EAD_EDGE_KERNEL", ("auto", "torch", "native")
CHANNELS = 16  # channels and, above 1, basis functions must be multiples of it: whole vectors on every CPU
SHARES = 32  # the molecules' weight gradients are summed in so many shares, then over the shares


def native_takes(tensors: Sequence[Tensor], hidden: int, basis: int) -> bool:
    """Whether a compiled operation takes these tensors: float32 on the CPU, channels in sixteens.

    Args:
        tensors: all numbers that go in.
        hidden: channels of an edge.
        basis: functions of a distance; 1 for the distance itself.

    Raises:
        ConfigError: EAD_EDGE_KERNEL is none of its values, or `native` where the operations cannot be compiled.
    """
    choice = os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise ConfigError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, not {choice!r}.")
    single = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    if choice == "torch" or not single or not all(tensor.numel() for tensor in tensors):
        return False
    if hidden % CHANNELS or (basis > 1 and basis % CHANNELS):
        _tell_of_shape(hidden, basis)
        return False
    compiled = _library()
    if isinstance(compiled, str) and choice == "native":
        raise ConfigError(f"{VARIABLE} is native, but {compiled}.")
    return not isinstance(compiled, str)


def arguments(counts: Sequence[str], tensors: Sequence[str]) -> type[ctypes.Structure]:
    """What the functions of an operation take: a struct of counts, then pointers to tensors."""
    fields = [
        ("parallel", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in ("threads", "shares", "half", *counts)),
        *((name, ctypes.c_void_p) for name in tensors),
    ]
    return type("Arguments", (ctypes.Structure,), {"_fields_": fields})


def call(
    function: str,
    struct: type[ctypes.Structure],
    counts: dict[str, int],
    tensors: dict[str, Tensor],
    half: bool,
    shares: int = 1,
) -> None:
    """Call a function of the library.

    Args:
        function: its name.
        struct: its argument, see `arguments`.
        counts: all that the struct names.
        tensors: dense; the pointers of those that are not given are null.
        half: whether the products of the second layer are in bfloat16, if the CPU has instructions for it.
        shares: of weight gradients.
    """
    pointers = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    threads = torch.get_num_threads()
    given = struct(parallel=_parallel(), threads=threads, shares=shares, half=half, **counts, **pointers)
    getattr(_library(), function)(ctypes.byref(given))


@cache
def _tell_of_shape(hidden: int, basis: int) -> None:
    shape = f"{hidden} channels and {basis} functions per distance"
    logger.info("PyTorch computes edges of %s: the compiled operation takes multiples of %d.", shape, CHANNELS)


@cache
def _library() -> ctypes.CDLL | str:
    """The compiled operations; or why there are none, which is said once."""
    try:
        library = ctypes.CDLL(str(shared_library(FOLDER)))
        _parallel()
        return library
    except (BuildError, OSError, AttributeError) as error:
        note(f"PyTorch computes the edges, which takes longer: {error}.")
        return str(error)


@cache
def _parallel() -> ctypes.c_void_p:
    """GOMP_parallel, looked up through torch: another OpenMP runtime would be a second pool of threads on the cores."""
    return ctypes.cast(ctypes.CDLL(torch._C.__file__).GOMP_parallel, ctypes.c_void_p)
