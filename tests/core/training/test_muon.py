"""Our Muon is torch's, in float32 and several matrices at a time."""

import pytest
import torch

from ead_core.training.muon import Muon, orthogonalised

SHAPES = [(24, 40), (24, 40), (40, 24), (17, 17)]


def matrices(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def stepped(kind, parameters, steps=3, **more):
    optimizer = kind(parameters, lr=0.1, weight_decay=0.02, **more)
    for step in range(steps):
        for parameter, gradient in zip(parameters, matrices(step + 1), strict=True):
            parameter.grad = gradient.detach()
        optimizer.step()
    return optimizer


def test_it_moves_as_torchs_does_up_to_bfloat16():
    ours, theirs = matrices(), matrices()
    stepped(Muon, ours)
    stepped(torch.optim.Muon, theirs)
    for start, a, b in zip(matrices(), ours, theirs, strict=True):
        assert float((a - b).detach().norm() / (b - start).detach().norm()) < 0.02


def test_its_state_is_named_and_valued_as_torchs():
    """Runs that were begun with torch's go on."""
    ours, theirs = matrices(), matrices()
    a, b = stepped(Muon, ours), stepped(torch.optim.Muon, theirs)
    for left, right in zip(ours, theirs, strict=True):
        assert a.state[left].keys() == b.state[right].keys() == {"momentum_buffer"}
        assert torch.allclose(a.state[left]["momentum_buffer"], b.state[right]["momentum_buffer"], atol=1e-6)


def test_a_matrix_does_not_depend_on_others_of_its_shape():
    together, alone = matrices(), matrices()[1:2]
    stepped(Muon, together)
    optimizer = Muon(alone, lr=0.1, weight_decay=0.02)
    for step in range(3):
        alone[0].grad = matrices(step + 1)[1].detach()
        optimizer.step()
    assert torch.allclose(together[1], alone[0], atol=1e-6)


def test_a_matrix_without_gradient_stays():
    parameters = matrices()
    optimizer = Muon(parameters, lr=0.1, weight_decay=0.02)
    parameters[0].grad = torch.ones_like(parameters[0])
    optimizer.step()
    for start, now in zip(matrices()[1:], parameters[1:], strict=True):
        assert torch.equal(start, now)
    assert not torch.equal(matrices()[0], parameters[0])


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (20, 20)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    """The iteration brings them between 0.7 and 1.2 rather than to 1 (Jordan et al. 2024)."""
    given = torch.randn(5, *shape, dtype=torch.float64) * torch.tensor([1e-3, 1, 1e3, 1, 1])[:, None, None]
    left, values, right = torch.linalg.svd(given, full_matrices=False)
    kept = values > 0.1 * values[:, :1]
    inside = left.mT @ orthogonalised(given) @ right.mT
    assert torch.allclose(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), atol=1e-6)
    moved = inside.diagonal(dim1=1, dim2=2)[kept]
    assert float(moved.min()) > 0.6
    assert float(moved.max()) < 1.3


def test_no_gradient_at_all_is_no_move():
    assert torch.equal(orthogonalised(torch.zeros(2, 20, 30)), torch.zeros(2, 20, 30))
