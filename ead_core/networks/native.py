"""The edge operation compiled for this CPU (edges.cpp): no edge tensor of H channels ever reaches the memory.

It is compiled at the first use; EAD_EDGE_KERNEL decides whether: `auto` (or unset) uses it where it can be had,
`torch` never, and `native` insists. Work is spread over the threads of torch's own OpenMP pool, in pieces whose sums
have a fixed order: results depend neither on the number of threads nor on a molecule's neighbours in the batch.

Legend as in edges.py: B molecules, N atoms, H channels, D distances, R basis functions, P projections.
"""

import ctypes
import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ead_core.errors import ConfigError
from ead_core.networks.native_build import BuildError, shared_library

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("edges.cpp")
VARIABLE, CHOICES = "EAD_EDGE_KERNEL", ("auto", "torch", "native")
CHANNELS = 16  # H and, above 1, R must be multiples of it: whole vectors on every CPU
COUNTS = ("threads", "shares", "molecules", "atoms", "hidden", "distance_count", "basis", "projection_count")
INPUTS = ("receiver", "sender", "distances", "distance", "second", "second_bias", "projection", "projection_bias")
RESULTS = ("projections", "gathered")
OUTPUTS = (*RESULTS, *(f"grad_{name}" for name in (*RESULTS, "receiver", "sender", "distances", "weights")))
SHARES = 32  # the molecules' weight gradients are summed in so many shares, then over the shares


class _Arguments(ctypes.Structure):
    """Of both functions; pointers that are not given are null."""

    _fields_ = [
        ("parallel", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in COUNTS),
        *((name, ctypes.c_void_p) for name in (*INPUTS, "edges", *OUTPUTS)),
    ]


def native_suits(edges: Tensor | None, inputs: Sequence[Tensor]) -> bool:
    """Whether the compiled operation takes these inputs of `edge_network`: float32 on the CPU, H in sixteens.

    Raises:
        ConfigError: EAD_EDGE_KERNEL is none of its values, or `native` where the operation cannot be compiled.
    """
    choice = os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise ConfigError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, not {choice!r}.")
    tensors = [*inputs] if edges is None else [*inputs, edges]
    single = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    if choice == "torch" or not single or not inputs[2].numel():
        return False
    hidden, basis = inputs[0].shape[2], inputs[3].shape[1] // inputs[2].shape[3]
    if hidden % CHANNELS or (basis > 1 and basis % CHANNELS):
        _tell_of_shape(hidden, basis)
        return False
    compiled = _library()
    if isinstance(compiled, str) and choice == "native":
        raise ConfigError(f"{VARIABLE} is native, but {compiled}.")
    return not isinstance(compiled, str)


@cache
def _tell_of_shape(hidden: int, basis: int) -> None:
    shape = f"{hidden} channels and {basis} functions per distance"
    logger.info("PyTorch computes edges of %s: the compiled operation takes multiples of %d.", shape, CHANNELS)


@cache
def _library() -> ctypes.CDLL | str:
    """The compiled operation; or why there is none, which is said once."""
    try:
        library = ctypes.CDLL(str(shared_library(SOURCE)))
        _parallel()
        return library
    except (BuildError, OSError, AttributeError) as error:
        logger.warning("PyTorch computes the edges, which takes longer: %s.", error)
        return str(error)


@cache
def _parallel() -> ctypes.c_void_p:
    """GOMP_parallel, looked up through torch: another OpenMP runtime would be a second pool of threads on the cores."""
    return ctypes.cast(ctypes.CDLL(torch._C.__file__).GOMP_parallel, ctypes.c_void_p)


def _call(function: str, tensors: dict[str, Tensor], shares: int = 1) -> None:
    """Call a function of the library; `tensors` are dense and have the names of INPUTS, `edges` and OUTPUTS."""
    distances, weight = tensors["distances"], tensors["distance"]
    arguments = _Arguments(
        parallel=_parallel(),
        threads=torch.get_num_threads(),
        shares=shares,
        molecules=distances.shape[0],
        atoms=distances.shape[1],
        hidden=weight.shape[0],
        distance_count=distances.shape[3],
        basis=weight.shape[1] // distances.shape[3],
        projection_count=tensors["projection"].shape[0],
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
    )
    getattr(_library(), function)(ctypes.byref(arguments))


def _named(edges: Tensor | None, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """What both functions take, dense."""
    tensors = dict(zip(INPUTS, inputs, strict=True)) | ({} if edges is None else {"edges": edges})
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


class _NativeEdgeNetwork(torch.autograd.Function):
    """Keeps the inputs and the projections for the backward pass, and nothing of the size [B, N, N, H]."""

    @staticmethod
    def forward(ctx: Any, learns: bool, edges: Tensor | None, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        receiver, _, distances, *_, projection_bias = inputs
        projections = receiver.new_empty(*distances.shape[:3], len(projection_bias))
        gathered = receiver.new_empty(receiver.shape if edges is not None else 0)
        _call("edge_forward", _named(edges, inputs) | {"projections": projections, "gathered": gathered})
        if learns:
            ctx.save_for_backward(edges, projections, *inputs)
        return projections, gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_projections: Tensor, grad_gathered: Tensor) -> tuple[Tensor | None, ...]:
        edges, projections, *inputs = ctx.saved_tensors
        receiver, _, distances, *weights = inputs
        shares, sizes = min(len(receiver), SHARES), [weight.numel() for weight in weights]
        given = {"projections": projections, "grad_projections": grad_projections, "grad_gathered": grad_gathered}
        made = {
            "grad_receiver": receiver.new_empty(receiver.shape),
            "grad_sender": receiver.new_empty(receiver.shape),
            "grad_weights": receiver.new_empty(shares, sum(sizes)),
        }
        if ctx.needs_input_grad[4]:
            made["grad_distances"] = distances.new_empty(distances.shape)
        dense = {name: tensor.contiguous() for name, tensor in given.items()}
        _call("edge_backward", _named(edges, inputs) | dense | made, shares)
        flat, *others = made["grad_weights"].sum(dim=0).split(sizes)
        return (
            None,  # of `learns`
            None,  # of `edges`
            made["grad_receiver"],
            made["grad_sender"],
            made.get("grad_distances"),
            flat.view(weights[0].shape[::-1]).t(),  # made as [features, H]
            *(grad.view_as(weight) for grad, weight in zip(others, weights[1:], strict=True)),
        )


native_edge_network = _NativeEdgeNetwork.apply
