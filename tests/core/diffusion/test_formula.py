"""A formula: how probable it is of what is predicted, how hard it pulls, and the least change that brings it about."""

import pytest
import torch

from ead_core.diffusion.formula import (
    OPEN,
    FormulaGuidance,
    asked,
    differs,
    log_probability,
    with_composition,
)
from ead_core.diffusion.pull import LARGEST_PULL

TOP = 100
SURE = torch.tensor([[0, 0, 1, 2]])  # types of a molecule of four atoms
ALL = torch.ones(1, 4, dtype=torch.bool)


def features_of(types, kinds=3):
    one_hot = torch.nn.functional.one_hot(types, kinds).double() / 4
    return torch.cat([one_hot, torch.zeros(*types.shape, 1)], dim=-1)


def composition(*counts):
    return torch.tensor([counts])


@pytest.fixture
def pull():
    return FormulaGuidance(scale=2.0, levels=(0.1, 0.4), at_once=8)


def test_a_composition_is_most_probable_where_it_is_predicted():
    features = features_of(SURE)
    near = {counts: float(log_probability(features, ALL, composition(*counts))) for counts in [(2, 1, 1), (1, 2, 1)]}
    assert near[2, 1, 1] > near[1, 2, 1] + 1
    padded = torch.cat([features, torch.rand(1, 2, 4).double()], dim=1)
    mask = torch.cat([ALL, torch.zeros(1, 2, dtype=torch.bool)], dim=1)
    assert float(log_probability(padded, mask, composition(2, 1, 1))) == pytest.approx(near[2, 1, 1])
    shuffled = features[:, [2, 0, 3, 1]]
    assert float(log_probability(shuffled, ALL, composition(1, 2, 1))) == pytest.approx(near[1, 2, 1])


def test_the_gradient_turns_the_atom_that_is_least_sure():
    """Of two atoms of the second type, one might be of the third, which is missing."""
    features = features_of(torch.tensor([[0, 0, 1, 1]]))
    features[0, 3, :3] = torch.tensor([0.01, 0.16, 0.08])
    features.requires_grad_()
    log_probability(features, ALL, composition(2, 1, 1)).sum().backward()
    towards = features.grad[0, :, 2] - features.grad[0, :, 1]
    assert towards.argmax() == 3
    assert towards[3] > 0


def test_who_is_pulled_has_a_formula_and_an_atom_between_the_levels(pull):
    levels = torch.tensor([[41, 41], [41, 40], [9, 10], [9, 0], [20, 20], [0, 0]])
    wanted = torch.tensor([[1, 1]] * 4 + [[OPEN, OPEN]] + [[1, 1]])
    found = pull.pulled(levels, torch.ones(6, 2, dtype=torch.bool), wanted, TOP)
    assert found.tolist() == [False, True, True, False, False, False]
    assert not FormulaGuidance(0.0, (0.0, 1.0), 8).pulled(levels, levels >= 0, wanted, TOP).any()
    assert asked(torch.zeros(2, 0).long()).tolist() == [False, False]


def test_the_pull_is_the_scaled_gradient_up_to_a_limit_and_spares_atoms_beyond_the_levels(pull):
    levels, sigma = torch.tensor([[20, 50], [20, 20]]), torch.full((2, 2, 1), 0.3)
    gradient = torch.ones(2, 2, 5) * torch.tensor([0.1, 1e3])[:, None, None]
    change = pull.noise(gradient, sigma, levels, levels > 0, composition(2, 1).expand(2, 2), TOP)
    none = torch.full((2, 2), OPEN)
    assert not pull.noise(gradient, sigma, levels, levels > 0, none, TOP).any()
    assert torch.allclose(change[0, 0], torch.tensor(2 * 0.3 * 0.1))
    assert not change[0, 1].any()
    assert float(change[1].square().mean().sqrt()) == pytest.approx(LARGEST_PULL)


def test_the_composition_is_met_by_the_fewest_and_least_sure_changes():
    types = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 2, 0, 0]])
    features = features_of(types)
    features[0, 1, :3] = torch.tensor([0.13, 0.02, 0.1])  # nearly of the third type
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    wanted, none = torch.tensor([[2, 2, 1], [1, 1, 1]]), torch.zeros(2, 5, dtype=torch.bool)
    made = with_composition(features, mask, none, wanted)
    assert made[..., :3].argmax(dim=-1)[0].tolist() == [0, 2, 0, 1, 1]
    assert torch.equal(made[1], features[1])
    assert differs(types, mask, wanted).tolist() == [True, False]
    held = none.clone()
    held[0, 1] = True
    assert with_composition(features, mask, held, wanted)[..., :3].argmax(dim=-1)[0, 1] == 0


def test_any_composition_can_be_met():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(50, 7, 4, generator=generator)
    wanted = torch.stack([torch.bincount(row, minlength=3) for row in torch.randint(3, (50, 7), generator=generator)])
    mask = torch.ones(50, 7, dtype=torch.bool)
    types = with_composition(features, mask, ~mask, wanted)[..., :3].argmax(dim=-1)
    assert not differs(types, mask, wanted).any()


def test_what_is_held_against_the_formula_stays():
    held = torch.ones_like(ALL)
    assert torch.equal(with_composition(features_of(SURE), ALL, held, composition(1, 2, 1)), features_of(SURE))
