"""A judge learns, knows how far it errs, says who is near to what was asked, and never judges its own choice."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.dataset import compute_statistics
from ead_core.data.labels import in_half, labels_of
from ead_core.data.priors import SizeRange
from ead_core.data.properties import count_atoms
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError, Targets
from ead_core.errors import CheckpointError, ConfigError, DataError
from ead_core.judge.selection import best_of
from ead_core.judge.verdict import composed, judged, per_molecule, table, to_json
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.predictor import TYPICAL_ATOMS, Predictor, build_predictor
from ead_core.prediction import completing
from ead_core.prediction.calibration import CALIBRATION, half_width, load_calibration
from ead_core.prediction.judge import load_judge, predict
from ead_core.sampling.choice import BEST_OF, SELECTED_BY, check_selector
from ead_core.sampling.requests import Request
from ead_core.training.calibrating import calibration_check
from ead_core.training.fit import fit

PREDICT = {
    "training.objective": "predict",
    "conditioning.properties": ["alpha", "mu"],
    "conditioning.half": "first",
    "network.hidden_features": 16,
    "training.batch_size": 12,
    "training.learning_rate": 0.02,
    "training.steps": 60,
    "training.evaluate_every": 1000,
}
PARTS = np.random.default_rng(0).permutation(240)


@pytest.fixture(scope="session")
def make_judge(make_config, labelled, tmp_path_factory):
    def make(changes=(), name="judge"):
        config = make_config({**PREDICT, **dict(changes)})
        folder = tmp_path_factory.mktemp("judges") / name
        train, valid, test = (labelled.select(PARTS[start::3]) for start in range(3))
        labels = labels_of(train, config.conditioning, 0)
        statistics = compute_statistics(train, name="chains", sha256="0" * 64, labels=labels)
        fit(config, train, statistics, folder, evaluate=calibration_check(config, statistics, valid, test, folder))
        return folder

    return make


@pytest.fixture(scope="session")
def judge(make_judge):
    return load_judge(make_judge())


def test_predictions_stand_in_for_what_is_not_measured(judge, make_config, labelled, monkeypatch):
    recipe = {"conditioning.properties": ["alpha", "gap", "mu"], "conditioning.half": "first"}
    config = make_config({**recipe, "conditioning.predictor": "judge"})
    monkeypatch.setattr(completing, "load_judge", lambda name: judge)
    labels = labels_of(labelled, config.conditioning, 0)
    told = completing.completed(labels, labelled, config)
    found = predict(judge.predictor, judge.config, judge.statistics, labelled)
    for name in ("alpha", "mu"):
        known = ~np.isnan(labels[name])
        assert 0 < known.sum() < len(labelled)
        assert np.array_equal(told[name][known], labels[name][known])
        assert np.array_equal(told[name][~known], found[name][~known])
    assert np.array_equal(told["gap"], labels["gap"], equal_nan=True)  # which it does not predict
    assert completing.completed(labels, labelled, make_config(recipe)) is labels


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditioning.half": "second"}, "leaves all but those of second"),
        ({"conditioning.properties": ["gap"]}, "predicts alpha, mu, none of which"),
    ],
)
def test_a_predictor_that_a_training_may_not_ask_is_refused(judge, make_config, labelled, monkeypatch, changes, words):
    recipe = {"conditioning.properties": ["alpha"], "conditioning.half": "first", "conditioning.predictor": "judge"}
    config = make_config({**recipe, **changes})
    monkeypatch.setattr(completing, "load_judge", lambda name: judge)
    with pytest.raises(ConfigError, match=words):
        completing.completed(labels_of(labelled, config.conditioning, 0), labelled, config)


def told(judge, molecules):
    return predict(judge.predictor, judge.config, judge.statistics, molecules)


def asked(molecules, **targets):
    """The molecules as if they had been made for these targets."""
    wanted = {f"target_{name}": np.broadcast_to(value, len(molecules)).astype(float) for name, value in targets.items()}
    cost = {"nfe": np.full(len(molecules), 10), "seconds": np.full(len(molecules), 0.5)}
    return MoleculeSet(molecules.num_atoms, molecules.charges, molecules.positions, {**wanted, **cost})


def test_predictions_do_not_depend_on_frame_order_or_padding(judge, labelled):
    some = labelled.select(range(12))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moved = MoleculeSet(some.num_atoms, some.charges, some.positions @ rotation + [1.0, -2.0, 3.0])
    alone = np.concatenate([told(judge, some.select([index]))["alpha"] for index in range(12)])
    parts = [some.molecule(index) for index in range(12)]
    turned = MoleculeSet.from_lists([c[::-1] for c, _ in parts], [x[::-1] for _, x in parts])
    for other in (told(judge, moved)["alpha"], alone, told(judge, turned)["alpha"]):
        assert np.allclose(told(judge, some)["alpha"], other, rtol=1e-4)


def test_a_prediction_is_a_mean_and_a_sum_over_real_atoms():
    channels = torch.randn(2, 5, 6)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    predictor = Predictor(lambda x, h, time, mask, context, draws: (x, channels), 4, 50, 3)
    seen = predictor(DenoiserInput(torch.randn(2, 5, 7), torch.zeros(2, 5, dtype=torch.long), mask))
    for row, count in enumerate((5, 3)):
        real = channels[row, :count]
        assert torch.allclose(seen[row], real[:, :3].mean(0) + real[:, 3:].sum(0) / TYPICAL_ATOMS)


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("properties", [1, 9])
def test_every_network_can_be_a_predictor(make_config, kind, properties):
    predictor = build_predictor(make_config({"network.kind": kind}).network, 5, 50, properties)
    levels = torch.zeros(2, 4, dtype=torch.long)
    assert predictor(DenoiserInput(torch.randn(2, 4, 8), levels, levels == 0)).shape == (2, properties)


def test_it_learns_from_the_labels_of_its_half_alone(judge, labelled):
    assert judge.statistics.properties["alpha"].labels == in_half(labelled.select(PARTS[0::3]), "first", 0).sum()
    test = labelled.select(PARTS[2::3])
    error = np.abs(told(judge, test)["alpha"] - test.properties["alpha"]).mean()
    guess = np.abs(judge.statistics.properties["alpha"].mean - test.properties["alpha"]).mean()
    assert error < 0.4 * guess


def test_the_bound_is_that_of_the_labels_it_may_know(judge, labelled):
    test = labelled.select(PARTS[2::3])
    mine = test.select(np.flatnonzero(in_half(test, "first", 0)))
    errors = np.abs(told(judge, mine)["alpha"] - mine.properties["alpha"])
    figures = judge.calibration["alpha"]
    assert figures.tested == len(mine)
    assert figures.bound == pytest.approx(errors.mean())
    assert figures.covered == pytest.approx((errors <= figures.half_width).mean())


@pytest.mark.parametrize(("count", "rank"), [(19, 19), (39, 38), (99, 95), (1000, 951)])
def test_the_half_width_is_the_conformal_quantile(count, rank):
    errors = np.random.default_rng(0).permutation(np.arange(1, count + 1)).astype(float)
    assert half_width(errors) == rank
    assert half_width(errors[:18]) == np.inf  # no eighteen errors make 95 % certain


def test_conformal_intervals_cover_what_they_promise():
    """Over many draws of the calibration set, new errors lie within with probability 95 to 95 + 1 / (n + 1) %."""
    rng = np.random.default_rng(1)
    hits = [rng.exponential() <= half_width(rng.exponential(size=99)) for _ in range(20_000)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.005)


def test_a_verdict_counts_what_was_asked(judge, labelled):
    some = labelled.select(range(40))
    achieved = told(judge, some)["alpha"]
    wanted = achieved + np.where(np.arange(40) % 4 == 0, np.nan, 1.5)
    (verdict,) = judged(asked(some, alpha=wanted), judge)
    assert (verdict.name, verdict.molecules) == ("alpha", 30)
    assert verdict.error == pytest.approx(1.5)
    assert verdict.within == float(judge.calibration["alpha"].half_width >= 1.5)
    columns = per_molecule(some, [verdict])
    assert np.allclose(columns["alpha_high"] - columns["alpha"], verdict.half_width)
    text = table([verdict])
    assert "bohr³" in text
    assert "context, not comparison" in text
    assert to_json([verdict], judge)["properties"]["alpha"]["molecules"] == 30


def test_what_cannot_be_judged_is_one_sentence(judge, labelled):
    with pytest.raises(DataError, match=r"^the molecules were made without targets; judge judges alpha, mu\.$"):
        judged(asked(labelled), judge)
    with pytest.raises(DataError, match=r"^the molecules were asked for gap; judge judges alpha, mu\.$"):
        judged(asked(labelled, gap=1.0), judge)
    with pytest.raises(DataError, match="no molecule has a target of 'mu'"):
        judged(asked(labelled, mu=np.nan), judge)


def test_the_best_of_some_is_the_nearest_and_costs_all(make_judge, labelled):
    selector = load_judge(make_judge({"conditioning.half": "second"}, "selector"))
    candidates = labelled.select(range(24))
    achieved = told(selector, candidates)["alpha"]
    wanted = np.repeat(achieved[[2, 4, 11]], 8)  # the first two rows of eight hold their own, the third row does not
    kept = best_of(asked(candidates, alpha=wanted), 8, selector)
    expected = [
        block[np.abs(achieved[block] - target).argmin()]
        for block, target in zip(np.arange(24).reshape(3, 8), wanted[::8], strict=True)
    ]
    assert np.array_equal(kept.num_atoms, candidates.num_atoms[expected])
    assert kept.properties["nfe"].tolist() == [80] * 3
    assert kept.properties["seconds"].tolist() == [4.0] * 3
    assert set(kept.properties[SELECTED_BY]) == {selector.fingerprint}
    with pytest.raises(DataError, match="were chosen by selector itself; another judge must judge them"):
        judged(kept, selector)


def made_of(*elements):
    """Chains of these elements, one Å apart."""
    return MoleculeSet.from_lists(
        [np.array(each) for each in elements],
        [np.eye(3)[[0] * len(each)] * np.arange(len(each))[:, None] for each in elements],
    )


def test_atoms_are_counted_by_everybody(judge):
    """Methane's elements in three orders of wrongness; the last molecule was asked for nothing."""
    some = made_of([6, 1, 1, 1, 1], [6, 6, 1, 1, 1], [6, 6, 6, 8, 1], [8, 1, 1])
    nothing = [np.nan]
    wanted = asked(some, atoms_C=[1, 1, 1, *nothing], atoms_H=[4, 4, 4, *nothing])
    carbons, hydrogens = judged(wanted, judge)
    assert (carbons.name, carbons.molecules, carbons.error, carbons.within) == ("atoms_C", 3, 1.0, pytest.approx(1 / 3))
    assert (hydrogens.achieved.tolist(), hydrogens.half_width) == ([4, 3, 1, 2], 0)
    assert composed([carbons, hydrogens]).tolist() == [True, False, False]
    assert "with the elements asked for: 33.3 (6.1 – 79.2) % of 3" in table([carbons, hydrogens])
    assert to_json([carbons, hydrogens], judge)["composition"] == pytest.approx(1 / 3)
    assert composed([]) is None


def test_the_best_of_some_has_the_atoms_asked_for_before_all_else(make_judge, labelled):
    """Four valid candidates for each of two places, among them some with the carbons asked for: the first of these."""
    pool = [labelled.molecule(index) for index in range(8)]
    candidates = MoleculeSet.from_lists([c for c, _ in pool], [x for _, x in pool])
    carbons = np.array([(charges == 6).sum() for charges, _ in pool])
    wanted = asked(candidates, atoms_C=np.repeat(carbons[[2, 5]], 4))
    kept = best_of(wanted, 4, None)
    wrong = np.abs(carbons - np.repeat(carbons[[2, 5]], 4)).reshape(2, 4)
    assert kept.properties["nfe"].tolist() == [40] * 2
    assert SELECTED_BY not in kept.properties
    assert count_atoms(kept, 6).tolist() == carbons[[2, 5]].tolist()
    assert kept.num_atoms.tolist() == candidates.num_atoms[np.arange(2) * 4 + wrong.argmin(axis=1)].tolist()
    selector = load_judge(make_judge({"conditioning.half": "second"}, "selector"))
    achieved = told(selector, candidates)["alpha"]
    both = asked(candidates, atoms_C=np.repeat(carbons[[2, 5]], 4), alpha=np.repeat(achieved[[0, 4]], 4))
    chosen = best_of(both, 4, selector)
    assert count_atoms(chosen, 6).tolist() == carbons[[2, 5]].tolist()  # whoever is nearest in alpha


def test_the_best_of_some_has_an_even_number_of_electrons_and_says_that_it_was_chosen():
    """Methyl, ammonia, methane and ammonia again: whoever has the hydrogens asked for, only a closed shell is taken."""
    methane, ammonia = np.eye(3)[[0, 0, 1, 1, 2]] * 1.09 * np.array([[0], [1], [1], [-1], [1]]), [7, 1, 1, 1]
    elements = [[6, 1, 1, 1], ammonia, [6, 1, 1, 1, 1], ammonia]
    candidates = MoleculeSet.from_lists([np.array(z) for z in elements], [methane[: len(z)] for z in elements])
    wanted = asked(candidates, atoms_H=[3.0] * 4)
    kept = best_of(wanted, 2, None)
    assert [kept.charges[0], *kept.num_atoms] == [7, 4, 4]
    assert kept.properties[BEST_OF].tolist() == [2, 2]
    lone = best_of(asked(candidates.select([0, 0]), atoms_H=[3.0] * 2), 2, None)
    assert len(lone) == 1  # an odd one, where nothing else was made
    ions = MoleculeSet(
        wanted.num_atoms, wanted.charges, wanted.positions, {**wanted.properties, "formal_charge": np.ones(4)}
    )
    assert best_of(ions, 2, None).charges[0] == 6


def test_a_selector_must_not_know_the_labels_of_the_judge(judge, make_judge, make_conditional):
    half = {"conditioning.half": "second"}
    generator = load_checkpoint(make_conditional(half))
    with pytest.raises(ConfigError, match="a selector must have the generator's half, which leaves the other one"):
        check_selector(judge, generator, ("alpha",))
    selector = load_judge(make_judge(half, "selector"))
    check_selector(selector, generator, ("alpha", "gap"))
    with pytest.raises(TargetError, match="predicts alpha, mu, but none of them is asked for"):
        check_selector(selector, generator, ("gap",))
    everybody = load_checkpoint(make_conditional({"conditioning.half": "all"}, "everybody"))
    everything = replace(selector, config=selector.config.override({"conditioning.half": "all"}))
    with pytest.raises(ConfigError, match="must have the generator's half"):
        check_selector(everything, everybody, ("alpha",))


def test_candidates_stand_side_by_side_with_size_and_targets():
    targets = Targets(("alpha",), (((1.0, 1.0),), ((2.0, 3.0),)), (5, None))
    request = Request(4, SamplerConfig(), first=10, sizes=(6, 7), targets=targets).each(2)
    assert request.targets.rows == (((1.0, 1.0),), ((1.0, 1.0),), ((2.0, 3.0),), ((2.0, 3.0),))
    assert request.targets.sizes == (5, 5, None, None)
    assert (request.num, request.first, request.sizes) == (8, 20, (6, 6, 7, 7))
    wide = SizeRange(3, 9)
    assert Request(4, SamplerConfig(), sizes=wide).each(2) == Request(8, SamplerConfig(), sizes=wide)


def test_generators_and_judges_are_not_taken_for_each_other(make_judge, make_checkpoint):
    with pytest.raises(CheckpointError, match="it generates nothing"):
        load_checkpoint(make_judge({"training.steps": 1}))
    with pytest.raises(CheckpointError, match="generates molecules; a judge is trained with"):
        load_judge(make_checkpoint())


def test_a_calibration_is_of_its_weights(make_judge):
    folder = make_judge({"training.steps": 1})
    document = json.loads((folder / CALIBRATION).read_text())
    assert load_calibration(folder, document["weights"])["alpha"].calibrated > 20
    with pytest.raises(CheckpointError, match="is of other weights"):
        load_calibration(folder, "0" * 16)
    (folder / CALIBRATION).write_text("{}")
    with pytest.raises(CheckpointError, match="is not the calibration of a judge"):
        load_judge(folder)
    (folder / CALIBRATION).unlink()
    with pytest.raises(CheckpointError, match="has not been calibrated yet"):
        load_judge(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"conditioning.properties": []}, "needs conditioning.properties, which are to be predicted"),
        ({"training.initial": "qm9-small"}, "takes neither training.initial nor dummies"),
        ({"diffusion.size_mode": "dummy"}, "takes neither training.initial nor dummies"),
    ],
)
def test_a_recipe_that_makes_no_judge_is_refused(make_config, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_config({**PREDICT, **changes})


def test_a_property_without_held_out_labels_is_refused(make_config, labelled):
    config = make_config(PREDICT)
    nothing = MoleculeSet(
        labelled.num_atoms, labelled.charges, labelled.positions, {**labelled.properties, "mu": np.full(240, np.nan)}
    )
    with pytest.raises(DataError, match="no held-out molecule has a label of 'mu'"):
        calibration_check(config, None, nothing, labelled, None)
