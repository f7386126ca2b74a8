"""The pseudo-Huber loss of the clean molecule, and the gradient between two laws."""

import pytest
import torch

from ead_core.diffusion.loss import SNR_CLIP, clean_loss, matching_gradient, pseudo_huber

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


def gaussian_gradient(made, mean, width, generator):
    """Of molecules of a Gaussian law, whose teacher's has the mean 0 and the width 1, noised with σ = α = √½."""
    alpha = sigma = 0.5**0.5
    z = alpha * made + sigma * torch.randn(made.shape, generator=generator, dtype=made.dtype)
    student, teacher = (
        m + alpha * w**2 * (z - alpha * m) / (alpha**2 * w**2 + sigma**2) for m, w in ((mean, width), (0, 1))
    )
    return matching_gradient(made, student, teacher, torch.ones(made.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize(("mean", "width"), [(0, 1), (0, 0.3), (0, 2), (0.7, 1), (-0.7, 0.5)])
def test_going_against_the_gradient_makes_the_law_that_of_the_teacher(mean, width):
    """Mean and width of a law are followed as they move all of its molecules; at the teacher's nothing is left."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(200 * ((mean, width) != (0, 1))):
        draws = torch.randn((64, 4, 8), generator=generator, dtype=torch.float64)
        gradient = gaussian_gradient(mean + width * draws, mean, width, generator)
        mean, width = float(mean - 0.2 * gradient.mean()), float(width - 0.2 * (gradient * draws).mean())
    assert (mean, width) == pytest.approx((0, 1), abs=0.02)
    draws = torch.randn((64, 4, 8), generator=generator, dtype=torch.float64)
    assert not gaussian_gradient(draws, 0, 1, generator).any()


def test_turned_molecules_are_pushed_alike_and_by_relative_amounts():
    made, student, teacher = torch.randn(3, 2, 4, 8, dtype=torch.float64) * MASK[..., None]
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]

    def turned(state):
        return torch.cat([state[..., :3] @ rotation, state[..., 3:]], dim=-1)

    gradient = matching_gradient(made, student, teacher, MASK)
    assert torch.allclose(matching_gradient(*map(turned, (made, student, teacher)), MASK), turned(gradient))
    assert torch.allclose(matching_gradient(9 * made, 9 * student, 9 * teacher, MASK), gradient)
    apart = (made - teacher)[1, :2]
    assert torch.allclose(gradient[1], (student - teacher)[1] / (apart**2).mean().sqrt())
    assert not matching_gradient(made, made, made, MASK).any()
