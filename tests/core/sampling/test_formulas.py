"""Molecules that are asked for a formula have it, whatever model, policy or company; what cannot be is one sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.targets import Targets
from ead_core.data.tensors import ONE_HOT_SCALE, size_mask
from ead_core.diffusion.formula import OPEN, FormulaGuidance
from ead_core.diffusion.restarts import Restarts
from ead_core.errors import ConfigError
from ead_core.sampling.conditions import warnings_before
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.generation import fulfil, sample
from ead_core.sampling.network_calls import predict_noise
from ead_core.sampling.repair import take_in
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

ALCOHOL = {"atoms_C": 4, "atoms_O": 1}
PLAIN = {"policy": "synchronous", "solver": "dpmpp_2m_sde"}
QUICK = {**PLAIN, "formula_restarts": 1}  # after which elements are changed, if need be
PULLED = 7  # steps 2 … 8 of the 20 levels


@pytest.fixture(scope="module")
def model(untrained):
    return load_checkpoint(untrained)


def elements(molecules):
    return [sorted(molecule.charges.tolist()) for molecule in molecules]


@pytest.mark.parametrize(
    "settings",
    [
        QUICK,
        {"policy": "adaptive", "async_ratio": 0.8, "formula_restarts": 1},
        {"policy": "manual", "formula_restarts": 1},
    ],
)
def test_every_molecule_has_its_formula_and_says_so(model, settings):
    made = sample(model, 3, targets=ALCOHOL, **settings)
    assert elements(made) == [[6, 6, 6, 6, 8]] * 3
    assert made.properties["target_atoms_C"].tolist() == [4] * 3
    assert not made.properties["warning"].any()


def test_rows_of_a_table_have_their_own_formulas_and_sizes(model, conditional):
    table = Targets(("atoms_C", "atoms_O"), (((4, 4), (1, 1)), ((2, 2), (4, 4)), ((0, 0), (5, 5))))
    expected = [[6, 6, 6, 6, 8], [6, 6, 8, 8, 8, 8], [8] * 5, [6, 6, 6, 6, 8]]
    assert elements(sample(model, 4, targets=table, **QUICK)) == expected
    assert elements(sample(load_checkpoint(conditional), 4, targets=table, **QUICK)) == expected


def test_who_has_no_formula_goes_its_own_way(conditional):
    """Rows of one request with a formula, without one, and with nothing asked, beside the same rows alone."""
    checkpoint, open_ = load_checkpoint(conditional), (float("nan"),) * 2
    rows = (((30, 30), open_, open_), (open_, (4, 4), (1, 1)), (open_, open_, open_))
    made = sample(checkpoint, 3, targets=Targets(("alpha", "atoms_C", "atoms_O"), rows), **QUICK)
    told = sample(checkpoint, 3, targets=Targets(("alpha", "atoms_C", "atoms_O"), rows), composition="told", **PLAIN)
    assert made.properties["nfe"][[0, 2]].tolist() == told.properties["nfe"][[0, 2]].tolist() == [21, 21]
    assert made.properties["nfe"][1] > 21
    for place in (0, 2):
        assert np.array_equal(made[place].charges, told[place].charges)
        assert np.allclose(made[place].positions, told[place].positions, atol=1e-4)


def test_calls_are_those_of_the_levels_and_no_more_than_is_said(model):
    request = Request(6, sampler_config(model, {**PLAIN, "formula_restarts": 0}), targets=Targets.of(ALCOHOL))
    prepared = prepare(model, request)
    assert prepared.process.most_calls == 21 + 2 * PULLED
    assert set(fulfil(model, prepared).properties["nfe"]) == {21 + 2 * PULLED}
    restarting = sampler_config(model, {**PLAIN, "formula_restarts": 2})
    again = prepare(model, replace(request, sampler=restarting))
    calls = fulfil(model, again).properties["nfe"]
    assert {*calls} <= {35, 35 + 6 + 10, again.process.most_calls}  # from level 0 up to 6, of which 5 pull
    assert calls.max() > 35
    assert again.process.most_calls == 35 + 2 * 16


def test_no_pull_and_no_restart_leave_the_geometry_of_a_model_that_is_told(model):
    """Then only elements are changed, at the end."""
    free = sample(model, 4, sizes=[5], **PLAIN)
    made = sample(model, 4, targets=ALCOHOL, formula_guidance=0, formula_restarts=0, **PLAIN)
    assert made.properties["nfe"].tolist() == free.properties["nfe"].tolist()
    assert np.allclose(made.positions, free.positions, atol=1e-5)


def test_company_changes_nothing(model):
    made = sample(model, 5, 3, targets=ALCOHOL, **PLAIN)
    few = sample(model, 2, 3, targets=ALCOHOL, first=2, batch_size=1, **PLAIN)
    alone = made.select(np.arange(2, 4))
    assert few.properties["nfe"].tolist() == alone.properties["nfe"].tolist()
    assert np.array_equal(few.charges, alone.charges)
    assert np.allclose(few.positions, alone.positions, atol=1e-3)


# --- the pull


def two_molecules(make_process):
    """At step 12 of 30, level 400: one asked for a formula, one not."""
    process = make_process(solver="dpmpp_2m_sde", pulls=(FormulaGuidance(2.0, (0.1, 0.4), 1),))
    ids = torch.arange(2)
    state = initial_state(ids, ids, size_mask([5, 4]), 3 + 4, process, torch.float64)
    composition = torch.tensor([[2, 2, 1], [OPEN] * 3])
    return replace(state, composition=composition, grid_index=state.mask.long() * 12), process


def test_the_pull_follows_the_gradient_of_what_is_asked(make_process):
    """Against differences, in a direction by chance; the molecule without a formula is as ever."""
    state, process = two_molecules(make_process)
    (eps,) = predict_noise(process.denoiser, [(state, process)])
    (plain,) = predict_noise(process.denoiser, [(state, replace(process, pulls=()))])
    assert torch.equal(eps[1], plain[1])
    pull = (plain - eps)[0] / (2.0 * process.schedule.sigma(process.grid[12]))

    def chances(z):
        (noise,) = predict_noise(process.denoiser, [(replace(state, z=z), replace(process, pulls=()))])
        each = (4 * process.moves.predict(z, noise, state.grid_index)[0, :, 3:6]).clamp(0.01, 1)
        return each / each.sum(dim=1, keepdim=True)

    own = chances(state.z)
    precision = (torch.diag(own.sum(dim=0) + 0.1) - own.T @ own).inverse()

    def chance(z):
        missing = state.composition[0] - chances(z).sum(dim=0)
        return -0.5 * missing @ precision @ missing

    way = torch.randn(state.z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    way = way * state.mask[..., None] * 1e-5
    slope = chance(state.z + way) - chance(state.z - way)
    assert float((pull * way[0]).sum() * 2) == pytest.approx(float(slope), rel=1e-3)
    assert abs(float(slope)) > 1e-8


def test_the_pull_turns_with_the_molecule_and_knows_no_order_of_atoms(make_process):
    state, process = two_molecules(make_process)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    order = torch.tensor([3, 0, 4, 2, 1])
    (eps,) = predict_noise(process.denoiser, [(state, process)])
    moved = torch.cat([state.z[..., :3] @ turn, state.z[..., 3:]], dim=-1)[:, order]
    turned = replace(state, z=moved, mask=state.mask[:, order], grid_index=state.grid_index[:, order])
    (after,) = predict_noise(process.denoiser, [(turned, process)])
    expected = torch.cat([eps[..., :3] @ turn, eps[..., 3:]], dim=-1)[:, order]
    assert torch.allclose(after, expected, atol=1e-9)


def test_the_wrong_formula_goes_back_up_whatever_its_parity(make_process):
    odd = torch.zeros(3, dtype=torch.bool)
    process = make_process(pulls=(FormulaGuidance(0.0, (0.1, 0.4), 8),), restarts=Restarts(0, (0.07, 0.3), odd, 2))
    ids = torch.arange(2)
    state = initial_state(ids, ids, size_mask([5, 5]), 3 + 4, process, torch.float64)
    end = list(trajectory(replace(state, composition=torch.tensor([[9, 0, 0], [OPEN] * 3])), process))[-1]
    assert end.restarts.tolist() == [2, 0]


# --- with others


@pytest.fixture
def keeper(make_checkpoint):
    return load_checkpoint(make_checkpoint({"training.fragments": 0.2, "sampler.policy": "synchronous"}))


def test_a_fragment_is_part_of_the_formula(keeper):
    kept = Fragment(np.array([8, 6]), np.array([[0.0, 0, 0], [1.4, 0, 0]]))
    request = Request(2, sampler_config(keeper, {"formula_restarts": 1}), targets=Targets.of(ALCOHOL), fragment=kept)
    made = fulfil(keeper, request)
    assert elements(made) == [[6, 6, 6, 6, 8]] * 2
    assert [molecule.charges[:2].tolist() for molecule in made] == [[8, 6]] * 2
    ethers = replace(request, fragment=Fragment(np.array([8, 8]), kept.positions))
    with pytest.raises(ConfigError, match=r"the fragment has 2 atoms of O and the formula 1; ask for a formula that"):
        prepare(keeper, ethers)


@pytest.mark.parametrize("extent", ["whole", "local"])
def test_repair_keeps_the_formula(keeper, extent):
    broken = sample(keeper, 2, targets=ALCOHOL, formula_restarts=0)
    config = sampler_config(keeper, {"repair_attempts": 1, "repair_extent": extent})
    for entry in take_in(keeper, broken, config):
        assert [type(pull) for pull in entry.process.pulls] == [FormulaGuidance]
        assert entry.state.composition.tolist() == [[4, 1]] * len(entry.rows)
    told = sampler_config(keeper, {"repair_attempts": 1, "composition": "told"})
    assert not any(entry.process.pulls for entry in take_in(keeper, broken, told))


def test_elements_are_scaled_as_the_probabilities_take_them(model):
    types = torch.arange(len(model.atom_types.numbers))
    assert (ONE_HOT_SCALE * model.atom_types.features(types))[:, types].diagonal().tolist() == [1] * len(types)


# --- what is refused, and what is said


@pytest.mark.parametrize(
    ("targets", "sizes", "settings", "sentence"),
    [
        ({"atoms_C": 4}, None, {}, "so it takes them as a whole formula only, one number for each of C, O."),
        ({"atoms_C": (1, 4), "atoms_O": 1}, None, {}, "so it takes them as a whole formula only"),
        ({**ALCOHOL, "atoms_F": 1}, None, {}, "checkpoint does not know F; its elements are C, O."),
        (ALCOHOL, (6,), {}, "the targets ask for 5 atoms by element, but the size is to be 6."),
        ({**ALCOHOL, "gap": 1}, None, {}, "checkpoint is not conditioned on 'gap'"),
        (ALCOHOL, None, {"composition": "told"}, "sampler.composition=told is for models that were trained with"),
    ],
)
def test_what_cannot_be_is_one_sentence(model, targets, sizes, settings, sentence):
    with pytest.raises(ConfigError) as error:
        sample(model, 2, targets=targets, sizes=sizes, **settings)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_decides_sizes_takes_no_formula(make_checkpoint):
    variable = load_checkpoint(make_checkpoint({"diffusion.size_mode": "dummy"}))
    with pytest.raises(ConfigError, match=r"checkpoint decides sizes by itself, so it takes no formula\."):
        sample(variable, 2, targets=ALCOHOL)


def test_an_odd_number_of_electrons_is_said():
    model = load_checkpoint("qm9-small")
    radical = Targets.of({"atoms_H": 9, "atoms_C": 7, "atoms_N": 0, "atoms_O": 2})
    sentence = "C7H9O2 has an odd number of electrons, so that one of them has no partner"
    assert warnings_before(model, radical) == [f"{sentence}."]
    start = prepare(model, Request(2, model.config.sampler, targets=radical)).start
    assert start.properties["warning"].tolist() == [sentence] * 2
