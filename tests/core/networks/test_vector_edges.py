"""The operation that passes vectors, in PyTorch and compiled, against the plain formula in double precision."""

import pytest
import torch
from torch.nn.functional import linear, silu

from ead_core.networks.edges import EdgeWeights
from ead_core.networks.native.library import VARIABLE
from ead_core.networks.native.vector_edges import native_suits
from ead_core.networks.pairs import Pairs
from ead_core.networks.radial import RADIAL_BASIS
from ead_core.networks.vector_edges import vector_edge_network

F64 = torch.float64
SIZES = [(2, 1, 16, 1), (3, 2, 32, 8), (3, 19, 32, 5), (2, 29, 64, 16)]  # B, N, E, K


def make(sizes, dtype=torch.float32):
    """Positions, real atoms (the last molecule lacks one in the middle), and all that has gradients."""
    molecules, atoms, edge, vectors = sizes
    mask = torch.ones(molecules, atoms, dtype=torch.bool)
    mask[-1, atoms // 2] = False
    shapes = [(molecules, atoms, 2 * edge), (molecules, atoms, 3, vectors), (edge, RADIAL_BASIS + 2 * vectors)]
    shapes += [(edge, edge), (edge,), (1 + 2 * vectors, edge), (1 + 2 * vectors,)]
    tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
    for index in 2, 3, 5:
        tensors[index] /= tensors[index].shape[1] ** 0.5
    return 2 * torch.randn(molecules, atoms, 3, dtype=dtype), mask, [t.requires_grad_() for t in tensors]


def ours(x, mask, tensors):
    return vector_edge_network(Pairs(x, mask), tensors[0], tensors[1], EdgeWeights(*tensors[2:]))


def plain(x, mask, tensors):
    ends, seen, distance, second, second_bias, projection, projection_bias = tensors
    vectors, (receiver, sender) = seen.shape[3], ends.chunk(2, dim=2)
    edges = mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool)
    difference = x[:, :, None] - x[:, None]
    d = (difference.square().sum(dim=3) + 1e-8).sqrt()
    direction = difference / (d + 1)[..., None]
    grid = torch.linspace(0, 1, RADIAL_BASIS, dtype=x.dtype)
    radial = torch.exp(-0.5 * (((d / (d + 3))[..., None] - grid) * RADIAL_BASIS) ** 2)
    along = [torch.einsum(f"bijc,b{atom}ck->bijk", direction, seen) for atom in "ij"]
    first = receiver[:, :, None] + sender[:, None] + linear(torch.cat([radial, *along], dim=3), distance)
    message = silu(linear(silu(first), second, second_bias)) * edges[..., None]
    gate, a, b = linear(message, projection, projection_bias).split([1, vectors, vectors], dim=3)
    gathered = (torch.sigmoid(gate) * message).sum(dim=2)
    turned = torch.einsum("bij,bijk,bijc->bick", edges.to(x.dtype), a, direction)
    return gathered, turned + torch.einsum("bij,bijk,bjck->bick", edges.to(x.dtype), b, seen) / 8


def results(operation, x, mask, tensors, wanted=None):
    """Outputs, and gradients of what is wanted under fixed gradients of the outputs."""
    outputs = operation(x, mask, tensors)
    weights = [torch.linspace(0.5, 1, t[0].numel()).to(t).view_as(t[0]).expand_as(t) for t in outputs]
    return [*(t.detach() for t in outputs), *torch.autograd.grad(outputs, wanted or tensors, weights)]


def assert_exact(results, exact):
    for result, expected in zip(results, exact, strict=True):
        scale = max(float(expected.abs().max()), 1.0)
        assert torch.allclose(result.double(), expected, atol=1e-5 * scale, rtol=0)


def doubled(tensors):
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


@pytest.fixture
def compiled_only(compiled, monkeypatch):
    monkeypatch.setenv(VARIABLE, "native")


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients_are_those_of_the_formula(kernel, sizes):
    x, mask, tensors = make(sizes)
    assert native_suits(x, tensors) == (kernel == "native")
    assert_exact(results(ours, x, mask, tensors), results(plain, x.double(), mask, doubled(tensors)))


def test_positions_get_their_gradient_from_pytorch(compiled_only):
    x, mask, tensors = make((2, 5, 16, 3))
    x.requires_grad_()
    assert not native_suits(x, tensors)
    exact = x.detach().double().requires_grad_()
    assert_exact(results(ours, x, mask, tensors, [x]), results(plain, exact, mask, doubled(tensors), [exact]))
    with torch.no_grad():
        assert native_suits(x, tensors)


def test_what_does_not_fit_is_left_to_pytorch(compiled_only):
    for sizes, dtype in (((2, 3, 24, 2), torch.float32), ((2, 3, 16, 2), F64), ((0, 3, 16, 2), torch.float32)):
        x, mask, tensors = make((max(sizes[0], 1), *sizes[1:]), dtype)
        x, mask, tensors = x[: sizes[0]], mask[: sizes[0]], [t[: sizes[0]] for t in tensors[:2]] + tensors[2:]
        assert not native_suits(x, tensors)
        for rounded, exact in zip(ours(x, mask, tensors), plain(x, mask, tensors), strict=True):
            assert torch.allclose(rounded, exact, atol=1e-5, rtol=1e-5)


def under_autocast(*inputs):
    with torch.autocast("cpu", torch.bfloat16):
        return ours(*inputs)


@pytest.mark.parametrize("rounds", [False, True])
def test_results_depend_neither_on_threads_nor_on_padding_nor_on_other_molecules(compiled_only, rounds):
    operation = under_autocast if rounds else ours
    x, mask, tensors = make((4, 19, 32, 5))
    first, threads = results(operation, x, mask, tensors), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert all(torch.equal(a, b) for a, b in zip(first, results(operation, x, mask, tensors), strict=True))
    finally:
        torch.set_num_threads(threads)
    for index, atoms in enumerate(mask):
        only = [t[index : index + 1, atoms].detach().requires_grad_() for t in tensors[:2]]
        alone = results(operation, x[index : index + 1, atoms], atoms[None, atoms], only + tensors[2:])
        compared = 4 if atoms.all() else 2  # the gradients that come in are not those of the same atoms
        for result, together in zip(alone[:compared], first[:compared], strict=True):
            assert torch.equal(result[0], together[index, atoms])


def test_turned_molecules_have_turned_sums(compiled_only):
    x, mask, tensors = make((2, 7, 16, 4))
    rotation = torch.linalg.qr(torch.randn(3, 3))[0]
    turned = [tensors[0], torch.einsum("cd,bndk->bnck", rotation, tensors[1]), *tensors[2:]]
    (gathered, sums), (same, moved) = ours(x, mask, tensors), ours(x @ rotation.T, mask, turned)
    assert torch.allclose(same, gathered, atol=1e-5, rtol=1e-5)
    assert torch.allclose(moved, torch.einsum("cd,bndk->bnck", rotation, sums), atol=1e-5, rtol=1e-5)


def test_the_compiled_operation_keeps_no_tensor_of_pairs(kernel):
    (x, mask, tensors), kept = make((1, 110, 16, 1)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        ours(x, mask, tensors)
    assert (max(kept) < 110 * 110) == (kernel == "native")


def test_under_autocast_the_compiled_operation_differs_by_rounding(compiled_only):
    """The same where the CPU has no instructions for it; what comes in rounded enters as it is."""
    x, mask, tensors = make((2, 9, 48, 3))
    for rounded, exact in zip(results(under_autocast, x, mask, tensors), results(ours, x, mask, tensors), strict=True):
        assert float((rounded - exact).norm()) <= 0.02 * float(exact.norm())
    halved = tensors[0].detach().bfloat16()
    outputs = (under_autocast(x, mask, [ends, *tensors[1:]]) for ends in (halved, halved.float()))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_what_is_not_a_number_stays_so_and_in_its_molecule(compiled_only):
    x, mask, tensors = make((3, 4, 16, 2))
    x[0, 1] = torch.nan
    x[2, 2] = torch.nan  # no real atom
    for output in ours(x, mask, tensors):
        assert output[0].isnan().all()
        assert torch.isfinite(output[1:]).all()
