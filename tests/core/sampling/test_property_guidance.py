"""Molecules that are pulled to their targets by a predictor: they come nearer, in any company, and say who pulled."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ead_core.data.targets import TargetError, Targets
from ead_core.data.tensors import size_mask
from ead_core.diffusion.formula import FormulaGuidance
from ead_core.diffusion.property_guidance import PropertyGuidance
from ead_core.errors import ConfigError
from ead_core.sampling.choice import SELECTED_BY
from ead_core.sampling.generation import fulfil, sample
from ead_core.sampling.network_calls import predict_noise
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

PULLED = 7  # steps 2 … 8 of the 20 levels
PLAIN = {"policy": "synchronous", "property_guidance": 3.0}
OPEN = float("nan")


@pytest.fixture(scope="module")
def selector(make_selector):
    return make_selector()


@pytest.fixture
def make_request(generator, selector):
    def make(num=4, targets=None, **settings):
        config = sampler_config(generator, {**PLAIN, **settings})
        return Request(num, config, 1, sizes=(5, 7), targets=Targets.of(targets or {"gap": 7000.0}), selector=selector)

    return make


def test_calls_are_those_of_the_levels(generator, make_request):
    prepared = prepare(generator, make_request())
    assert prepared.process.most_calls == 21 + 4 * PULLED
    assert set(fulfil(generator, prepared).properties["nfe"]) == {21 + 4 * PULLED}


def test_numbers_of_atoms_alone_pull_nowhere(generator, make_request):
    made = fulfil(generator, make_request(targets={"atoms_C": (1, 4)}))
    assert set(made.properties["nfe"]) == {21}
    assert SELECTED_BY not in made.properties


@pytest.mark.parametrize("wanted", [1.0, 6.0])
def test_pulled_molecules_are_nearer(make_process, wanted):
    """Gaussian molecules, of whose sum of squared distances another value is asked than the one they mostly have."""

    def squares(inputs):
        return inputs.z[..., :3].square().sum(dim=(1, 2))[:, None]

    ids = torch.arange(64)

    def off(*pulls):
        process = make_process(solver="ddim", pulls=pulls)
        state = initial_state(ids, ids, size_mask([5] * 64), 3 + 4, process, torch.float64)
        state = replace(state, wanted=torch.full((64, 1), wanted, dtype=torch.float64))
        end = list(trajectory(state, process))[-1]
        return float((end.z[..., :3].square().sum(dim=(1, 2)) - wanted).abs().mean())

    assert off(PropertyGuidance(1.0, (0.0, 0.6), 64, squares, 3)) < 0.5 * off()


def test_company_changes_nothing(generator, make_request, same):
    made = fulfil(generator, make_request(5))
    few = fulfil(generator, replace(make_request(2, batch_size=1), first=3))
    assert same(made.select(np.arange(3, 5)), few)


def test_an_open_row_goes_its_own_way(generator, selector, same):
    config = sampler_config(generator, PLAIN)
    rows = Targets(("gap",), (((7000.0, 7000.0),), ((OPEN, OPEN),)))
    made = fulfil(generator, Request(2, config, 1, sizes=(5,), targets=rows, selector=selector))
    free = sample(generator, 2, 1, (5,), targets=rows, policy="synchronous")
    assert made.properties["nfe"].tolist() == [21 + 4 * PULLED, 21]
    assert same(made.select(np.array([1])), free.select(np.array([1])))


def test_a_formula_and_properties_pull_together(generator, selector, make_request):
    targets = {"gap": 7000.0, "atoms_C": 4, "atoms_O": 1}
    prepared = prepare(generator, replace(make_request(targets=targets, formula_restarts=0), sizes=(5,)))
    assert [type(pull) for pull in prepared.process.pulls] == [FormulaGuidance, PropertyGuidance]
    made = fulfil(generator, prepared)
    assert [sorted(molecule.charges.tolist()) for molecule in made] == [[6, 6, 6, 6, 8]] * 4
    assert set(made.properties["nfe"]) == {21 + (2 + 4) * PULLED}


def test_two_pulls_are_the_sum_of_both(make_process):
    """Taken apart, each changes ε̂ by as much as in company."""
    formula = FormulaGuidance(2.0, (0.1, 0.4), 1)
    size = PropertyGuidance(1.0, (0.1, 0.4), 4, lambda inputs: inputs.z[..., :3].square().sum(dim=(1, 2))[:, None], 3)
    ids, process = torch.arange(2), make_process(solver="dpmpp_2m_sde")
    state = initial_state(ids, ids, size_mask([5, 4]), 3 + 4, process, torch.float64)
    wishes = {"composition": torch.tensor([[2, 2, 1], [2, 1, 1]]), "wanted": torch.tensor([[2.0], [OPEN]]).double()}
    state = replace(state, grid_index=state.mask.long() * 12, **wishes)

    def noise(*pulls):
        return predict_noise(process.denoiser, [(state, replace(process, pulls=pulls))])[0]

    free = noise()
    assert torch.allclose(noise(formula, size) - free, noise(formula) - free + noise(size) - free, atol=1e-12)
    assert not torch.allclose(noise(size)[0], free[0])
    assert torch.equal(noise(size)[1], free[1])


def test_molecules_say_who_pulled_them(generator, selector, make_request):
    made = fulfil(generator, make_request(2))
    assert set(made.properties[SELECTED_BY].tolist()) == {selector.fingerprint}


def test_who_may_pull_is_who_may_choose(generator, make_selector, make_request):
    with pytest.raises(ConfigError, match="a selector must have the generator's half"):
        prepare(generator, replace(make_request(), selector=make_selector("first")))
    with pytest.raises(ConfigError, match="gap must be predicted, and no bundled selector has learnt"):
        prepare(generator, replace(make_request(), selector=None))
    with pytest.raises(TargetError, match="predicts alpha, gap, but none of them is asked for"):
        prepare(generator, make_request(targets={"mu": 1.0}))
    with pytest.raises(ConfigError, match="selector needs branches, among which it chooses, or property_guidance"):
        sample(generator, 1, targets={"gap": 7000}, selector=make_selector())


def test_a_predictor_that_cannot_look_at_unfinished_molecules_is_refused(generator, selector, make_request):
    other = replace(selector, statistics=replace(selector.statistics, atom_numbers=(6, 7, 8)))
    with pytest.raises(
        ConfigError, match=r"selector knows C, N, O and generator C, O; sampler.property_guidance needs"
    ):
        prepare(generator, replace(make_request(), selector=other))
    framed = SimpleNamespace(network=SimpleNamespace(num_draws=4), to=lambda device: None)
    with pytest.raises(ConfigError, match="selector looks at molecules in random frames"):
        prepare(generator, replace(make_request(), selector=replace(selector, predictor=framed)))


def test_a_refused_molecule_is_not_repaired_unless_it_is_wished(generator):
    assert sampler_config(generator, PLAIN).repairs == 0
    assert sampler_config(generator, {**PLAIN, "repair_attempts": 2}).repairs == 2
    assert sampler_config(generator, {**PLAIN, "property_guidance": 0}).repairs > 0
