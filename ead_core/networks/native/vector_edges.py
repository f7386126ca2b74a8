"""`vector_edge_network` of vector_edges.py as a compiled operation (vector_edges.cpp).

Legend as in vector_edges.py: B molecules, N atoms, E features per edge, K vectors per atom, R basis functions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from ead_core.networks.native.library import CHANNELS, SHARES, arguments, call, native_takes
from ead_core.networks.radial import RADIAL_BASIS

COUNTS = ("molecules", "atoms", "hidden", "basis", "vectors", "vector_row")
INPUTS = ("positions", "ends", "along", "seen", "radial", "second", "second_bias", "readout", "readout_bias", "mask")
RESULTS = ("gathered", "gathered_along", "passed")
GRADIENTS = tuple(f"grad_{name}" for name in (*RESULTS, "ends", "along", "seen", "weights"))
ARGUMENTS = arguments(COUNTS, (*INPUTS, *RESULTS, "directions", *GRADIENTS))


def native_suits(x: Tensor, inputs: Sequence[Tensor]) -> bool:
    """Whether the compiled operation takes these inputs of `vector_edge_network`, see `native_takes`.

    Args:
        x: positions, of which it gives no gradient.
        inputs: ends, seen, and the weights.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return False
    return native_takes([x, *inputs], inputs[0].shape[2] // 2, RADIAL_BASIS)


def _call(function: str, tensors: dict[str, Tensor], half: bool, shares: int = 1) -> None:
    """Call a function of the library; `tensors` have the names of INPUTS, RESULTS, `directions` and GRADIENTS.

    The other arguments are those of `call`.
    """
    molecules, atoms, _, row = tensors["seen"].shape
    basis, hidden = tensors["radial"].shape
    sizes = (molecules, atoms, hidden, basis, len(tensors["readout"]) - 1, row)
    call(function, ARGUMENTS, dict(zip(COUNTS, sizes, strict=True)), tensors, half, shares)


def _padded(vectors: Tensor) -> Tensor:
    """[…, K] with zeros up to whole vectors of numbers."""
    return pad(vectors, (0, -vectors.shape[-1] % CHANNELS))


class _NativeVectorEdges(torch.autograd.Function):
    """Keeps the inputs for the backward pass, and nothing of the size [B, N, N].

    Its results are Σ_j σ_ij m_ij [B, N, E], Σ_j n_ij m_ij [B, N, 3, E], Σ_j b_ij seen_j [B, N, 3, K] and, without a
    gradient, Σ_j n_ij [B, N, 3].
    """

    @staticmethod
    def forward(ctx: Any, half: bool, x: Tensor, mask: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Arguments: `half` as of `call`, positions, real atoms, then INPUTS without them.

        `along` [B, N, 3, 2E] is what enters the first layer times n_ij, of the receiver and the sender side by side;
        `radial` is [R, E], and the gate is the last of the K + 1 readouts.
        """
        ends, along, seen, *weights = inputs
        named = (x, ends, along, _padded(seen), *weights, mask)
        given = {name: tensor.contiguous() for name, tensor in zip(INPUTS, named, strict=True)}
        molecules, atoms, _, channels = along.shape
        passed, directions = torch.zeros_like(given["seen"]), torch.zeros_like(given["positions"])
        gathered, gathered_along = (x.new_zeros(molecules, atoms, *inner, channels // 2) for inner in ((), (3,)))
        made = dict(zip((*RESULTS, "directions"), (gathered, gathered_along, passed, directions), strict=True))
        _call("vector_edge_forward", given | made, half)
        ctx.save_for_backward(*given.values())
        ctx.half, ctx.vectors = half, seen.shape[-1]
        ctx.mark_non_differentiable(directions)
        return gathered, gathered_along, passed[..., : seen.shape[-1]], directions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given = dict(zip(INPUTS, ctx.saved_tensors, strict=True))
        gathered, gathered_along, passed, _ = gradients
        grads = zip(GRADIENTS, (gathered, gathered_along, _padded(passed)), strict=False)
        weights = [given[name] for name in INPUTS[4:9]]
        shares, sizes = min(len(given["ends"]), SHARES), [weight.numel() for weight in weights]
        made = {f"grad_{name}": torch.zeros_like(given[name]) for name in ("ends", "along", "seen")}
        made["grad_weights"] = given["ends"].new_empty(shares, sum(sizes))
        _call(
            "vector_edge_backward", given | {name: grad.contiguous() for name, grad in grads} | made, ctx.half, shares
        )
        flat = made["grad_weights"].sum(dim=0).split(sizes)
        return (
            None,  # of `half`
            None,  # of the positions
            None,  # of the mask
            made["grad_ends"],
            made["grad_along"],
            made["grad_seen"][..., : ctx.vectors],
            *(grad.view_as(weight) for grad, weight in zip(flat, weights, strict=True)),
        )


native_vector_edges = _NativeVectorEdges.apply
