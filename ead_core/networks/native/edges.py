"""`edge_network` of edges.py as a compiled operation (edges.cpp).

Legend as in edges.py: B molecules, N atoms, H channels, D distances, R basis functions, P projections.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ead_core.networks.native.library import SHARES, arguments, call, native_takes

COUNTS = ("molecules", "atoms", "hidden", "distance_count", "basis", "projection_count")
INPUTS = ("receiver", "sender", "distances", "distance", "second", "second_bias", "projection", "projection_bias")
RESULTS = ("projections", "gathered")
OUTPUTS = (*RESULTS, *(f"grad_{name}" for name in (*RESULTS, "receiver", "sender", "distances", "weights")))
# Second pre-activations are kept for the backward pass where reading them is faster than making them, up to a size.
KEPT_CHANNELS, KEPT_BYTES = 64, 64 << 20
ARGUMENTS = arguments(COUNTS, (*INPUTS, "edges", "before", *OUTPUTS))


def native_suits(edges: Tensor | None, inputs: Sequence[Tensor]) -> bool:
    """Whether the compiled operation takes these inputs of `edge_network`, see `native_takes`."""
    tensors = [*inputs] if edges is None else [*inputs, edges]
    return native_takes(tensors, inputs[0].shape[2], inputs[3].shape[1] // inputs[2].shape[3])


def _call(function: str, tensors: dict[str, Tensor], half: bool, shares: int = 1) -> None:
    """Call a function of the library; `tensors` have the names of INPUTS, `edges` and OUTPUTS; others as of `call`."""
    distances, weight, projection = tensors["distances"], tensors["distance"], tensors["projection"]
    molecules, atoms, _, count = distances.shape
    sizes = (molecules, atoms, weight.shape[0], count, weight.shape[1] // count, projection.shape[0])
    call(function, ARGUMENTS, dict(zip(COUNTS, sizes, strict=True)), tensors, half, shares)


def _named(inputs: Sequence[Tensor], **others: Tensor | None) -> dict[str, Tensor]:
    """What both functions take, dense; without the others that are None."""
    tensors = dict(zip(INPUTS, inputs, strict=True)) | others
    return {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}


class _NativeEdgeNetwork(torch.autograd.Function):
    """Keeps the inputs and the projections for the backward pass, and of size [B, N, N, H] one tensor or none."""

    @staticmethod
    def forward(ctx: Any, learns: bool, half: bool, edges: Tensor | None, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        receiver, _, distances, *_, projection_bias = inputs
        projections = receiver.new_empty(*distances.shape[:3], len(projection_bias))
        gathered = receiver.new_empty(receiver.shape if edges is not None else 0)
        before = _room(receiver, distances) if learns else None
        made = {"projections": projections, "gathered": gathered}
        _call("edge_forward", _named(inputs, edges=edges, before=before) | made, half)
        if learns:
            ctx.half = half
            ctx.save_for_backward(edges, before, projections, *inputs)
        return projections, gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_projections: Tensor, grad_gathered: Tensor) -> tuple[Tensor | None, ...]:
        edges, before, projections, *inputs = ctx.saved_tensors
        receiver, _, distances, *weights = inputs
        shares, sizes = min(len(receiver), SHARES), [weight.numel() for weight in weights]
        given = {"projections": projections, "grad_projections": grad_projections, "grad_gathered": grad_gathered}
        made = {
            "grad_receiver": receiver.new_empty(receiver.shape),
            "grad_sender": receiver.new_empty(receiver.shape),
            "grad_weights": receiver.new_empty(shares, sum(sizes)),
        }
        if ctx.needs_input_grad[5]:
            made["grad_distances"] = distances.new_empty(distances.shape)
        _call("edge_backward", _named(inputs, edges=edges, before=before, **given) | made, ctx.half, shares)
        flat, *others = made["grad_weights"].sum(dim=0).split(sizes)
        return (
            None,  # of `learns`
            None,  # of `half`
            None,  # of `edges`
            made["grad_receiver"],
            made["grad_sender"],
            made.get("grad_distances"),
            flat.view(weights[0].shape[::-1]).t(),  # made as [features, H]
            *(grad.view_as(weight) for grad, weight in zip(others, weights[1:], strict=True)),
        )


def _room(receiver: Tensor, distances: Tensor) -> Tensor | None:
    """For the second pre-activations [B, N, N, H], where they are kept."""
    hidden = receiver.shape[2]
    kept = distances[..., 0].numel() * hidden * receiver.element_size() <= KEPT_BYTES and hidden >= KEPT_CHANNELS
    return receiver.new_empty(*distances.shape[:3], hidden) if kept else None


native_edge_network = _NativeEdgeNetwork.apply
