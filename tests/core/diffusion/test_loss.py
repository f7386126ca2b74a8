"""The pseudo-Huber loss of the clean molecule."""

import pytest
import torch

from ead_core.diffusion.loss import SNR_CLIP, clean_loss, pseudo_huber

MASK = torch.tensor([[True] * 4, [True, True, False, False]])
ONE = torch.ones(2, 4, dtype=torch.float64)


def test_short_errors_count_by_their_square_and_long_ones_by_themselves():
    near, far = torch.tensor([1e-3], dtype=torch.float64), torch.tensor([50.0], dtype=torch.float64)
    assert float(pseudo_huber(near**2, 0.1)) == pytest.approx(1e-6 / 0.2, rel=1e-3)
    assert float(pseudo_huber(far**2, 0.1)) == pytest.approx(50 - 0.1, rel=1e-4)


def test_turned_errors_cost_the_same_and_exchanged_channels_of_types_too():
    error = torch.randn(2, 4, 8, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    turned = torch.cat([error[..., :3] @ rotation, error[..., 3:].flip(-1)], dim=-1)
    assert torch.allclose(clean_loss(turned, MASK, ONE, 0.03), clean_loss(error, MASK, ONE, 0.03))


def test_the_loss_is_a_mean_over_atoms_with_a_bounded_weight():
    error = torch.randn(2, 4, 8, dtype=torch.float64)
    loss = clean_loss(error, MASK, ONE, 0.03)
    lengths = pseudo_huber((error[1, :2, :3] ** 2).sum(-1), 0.03)
    types = pseudo_huber(error[1, :2, 3:] ** 2, 0.03).sum(-1)
    assert float(loss[1]) == pytest.approx(float((lengths + types).mean() / 8))
    assert torch.allclose(clean_loss(error, MASK, 3 * ONE, 0.03), 3 * loss)
    assert torch.allclose(clean_loss(error, MASK, 1e9 * ONE, 0.03), SNR_CLIP * loss)
