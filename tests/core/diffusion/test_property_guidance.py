"""The pull to wanted properties: what a predictor finds in a predicted molecule, against closed forms."""

import pytest
import torch

from ead_core.diffusion.property_guidance import TAIL, WIDTH, PropertyGuidance

OPEN = float("nan")
TYPES = torch.tensor([[0, 1, 1]])
REAL = torch.ones(1, 3, dtype=torch.bool)


def size_and_type(inputs):
    """Two properties of molecules [B, 2]: the sum of squared distances from the origin, and the atoms of type 1."""
    assert not inputs.levels.any()
    real = inputs.mask[..., None]
    squares = (inputs.z[..., :3].square() * real).sum(dim=(1, 2))
    return torch.stack([squares, 4 * inputs.z[..., 4].sum(dim=1)], dim=1)


def predicted(positions):
    one_hot = torch.nn.functional.one_hot(TYPES, 2).double() / 4
    return torch.cat([positions, one_hot, torch.zeros(1, 3, 1).double()], dim=-1).requires_grad_()


@pytest.fixture
def pull():
    return PropertyGuidance(2.0, (0.1, 0.4), 8, size_and_type, 2)


@pytest.fixture
def molecule():
    return predicted(torch.tensor([[[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]]], dtype=torch.float64))


def gradient(pull, molecule, *wish):
    chance = pull.log_probability(molecule, REAL, torch.tensor([wish], dtype=torch.float64)).sum()
    return torch.autograd.grad(chance, molecule)[0]


def test_the_gradient_near_the_target_is_that_of_a_gaussian(pull, molecule):
    """d/dx of −(f − c)² / 2w² is (c − f) / w² · df/dx, with f = Σ x² = 0.14 and df/dx = 2 x."""
    found = gradient(pull, molecule, 0.34, OPEN)
    assert torch.allclose(found[..., :3], (0.34 - 0.14) / WIDTH**2 * 2 * molecule[..., :3])


def test_far_from_the_target_the_pull_grows_no_further(pull, molecule):
    near, far = (gradient(pull, molecule, 0.14 + off, OPEN) for off in (TAIL * WIDTH, 10 * TAIL * WIDTH))
    assert torch.allclose(near, far)


def test_an_open_property_pulls_nowhere(pull, molecule):
    assert not gradient(pull, molecule, 0.14, OPEN).any()
    assert not gradient(pull, molecule, OPEN, OPEN).any()
    assert pull.asked(torch.tensor([[OPEN, OPEN], [OPEN, 1.0]])).tolist() == [False, True]
    assert pull.asked(torch.zeros(2, 0)).tolist() == [False, False]


def test_the_predictor_sees_probabilities_of_types_and_no_padding(pull):
    """Types that are predicted as −0.1 and 1.3 are sure ones, as far as a prediction may be."""
    rough = torch.tensor([[[0, 0, 0, -0.025, 0.325, 0], [9, 9, 9, 9, 9, 9.0]]]).double()
    mask, seen = torch.tensor([[True, False]]), []
    noting = PropertyGuidance(2.0, (0.1, 0.4), 8, lambda inputs: seen.append(inputs) or size_and_type(inputs), 2)
    noting.log_probability(rough, mask, torch.tensor([[1.0, 1.0]]).double())
    assert (4 * seen[0].z[0, 0, 3:5]).tolist() == pytest.approx([0.01 / 1.01, 1 / 1.01])
    assert not seen[0].z[0, 1, 3:5].any()


def test_pulls_of_different_predictors_are_not_mixed(pull):
    other = PropertyGuidance(2.0, (0.1, 0.4), 8, lambda inputs: 2 * size_and_type(inputs), 2)
    assert pull.kind == PropertyGuidance(1.0, (0.1, 0.4), 8, size_and_type, 2).kind
    assert pull.kind != other.kind
