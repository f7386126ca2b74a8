"""Who may choose among molecules, and in which order they come."""

from dataclasses import replace

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.prediction.judge import load_judge
from ead_core.prediction.predict import predict
from ead_core.sampling.choice import check_selector, distance, not_sound, selector_of


@pytest.fixture(scope="module")
def generator():
    return load_checkpoint("qm9-small-cond")


@pytest.fixture(scope="module")
def selector(generator):
    return selector_of(generator, ("gap",))


def asked(molecules, **targets):
    wanted = {f"target_{name}": np.broadcast_to(value, len(molecules)).astype(float) for name, value in targets.items()}
    return replace(molecules, properties=wanted)


def test_the_bundled_selector_has_the_half_of_the_bundled_generator_and_not_that_of_the_judge(generator, selector):
    assert selector.name == "qm9-selector"
    judge = load_judge("qm9-judge")
    assert judge.fingerprint != selector.fingerprint
    with pytest.raises(ConfigError, match="a selector must have the generator's half"):
        selector_of(generator, ("gap",), judge)


def test_atoms_are_counted_by_everybody(generator):
    assert selector_of(generator, ("atoms_C", "atoms_O")) is None


@pytest.mark.parametrize("change", [{"conditioning.half": "first"}, {"data.split_seed": 1}])
def test_a_generator_of_other_labels_needs_a_selector_of_its_own(generator, change):
    other = replace(generator, config=generator.config.override(change))
    with pytest.raises(ConfigError, match=r"gap must be predicted, and no bundled selector .* \(--selector\)"):
        selector_of(other, ("gap", "atoms_C"))


def test_a_selector_knows_all_elements_of_the_generator(generator, selector):
    fluorinated = replace(generator, statistics=replace(generator.statistics, atom_numbers=(1, 6, 7, 8, 9)))
    with pytest.raises(ConfigError, match=r"qm9-selector does not know all elements of qm9-small-cond \(F\)"):
        check_selector(selector, fluorinated, ("gap",))


def test_the_nearest_comes_first_and_an_atom_too_many_after_all_of_the_right_formula(selector, make_set):
    molecules = make_set("CCO", "CC=O", "CCO", "CCCO")
    gaps = predict(molecules, selector)["gap"].value
    far = distance(asked(molecules, gap=[gaps[0], gaps[1], gaps[2] + 3000, gaps[3]], atoms_C=2), selector)
    assert np.allclose(far[:2], 0, atol=1e-6)
    assert 0.5 < far[2] < 1
    assert far[3] == pytest.approx(1, abs=1e-6)


def test_targets_that_are_open_do_not_count(selector, make_set):
    molecules = make_set("CCO", "CC=O")
    gaps = predict(molecules, selector)["gap"].value
    both = asked(molecules, gap=[np.nan, gaps[1] + 1000], mu=[np.nan, np.nan])
    assert distance(both, selector)[0] == 0
    assert distance(both, selector)[1] == distance(asked(molecules, gap=gaps + 1000), selector)[1]


def test_coordinates_that_are_no_numbers_are_the_farthest(selector, make_set):
    molecules = make_set("CCO", "CC=O")
    places = np.where(np.arange(len(molecules.charges))[:, None] < 9, np.nan, molecules.positions)
    broken = replace(molecules, positions=places)
    assert (distance(asked(broken, gap=5000.0), selector) == 1).tolist() == [True, False]


def test_invalid_molecules_and_odd_electrons_are_not_sound(make_set):
    good = make_set("CCO", "C")
    radical = MoleculeSet(good.num_atoms[1:] - 1, good.charges[9:13], good.positions[9:13])
    crowded = MoleculeSet(np.array([6]), np.array([6] * 6), np.random.default_rng(0).normal(size=(6, 3)) * 0.5)
    assert not_sound(MoleculeSet.concatenate([good, radical, crowded])).tolist() == [False, False, True, True]
