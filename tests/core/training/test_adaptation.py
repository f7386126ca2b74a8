"""What an adaptation learns from, and by which recipe."""

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.data.structures import Candidate
from ead_core.errors import CheckpointError, ConfigError
from ead_core.training import adaptation, companions
from ead_core.training.adaptation import Material, Order, beside_companions, gather, recipe_for
from ead_core.training.companions import companions_of, nearest


@pytest.fixture
def order(tmp_path, molecules):
    save_npz(molecules, tmp_path / "chains.npz")
    return Order(tmp_path / "chains.npz", "qm9-small", 0)


@pytest.fixture(scope="module")
def small():
    return load_checkpoint("qm9-small")


def silent(done):
    pass


@pytest.mark.parametrize(
    ("count", "elements", "steps", "patience"),
    [
        (10, (1, 6), 600, None),
        (60, (1, 6), 720, 5),
        (60, (1, 6, 16), 2720, 5),
        (5000, (1, 6, 16), 12_000, 5),
    ],
)
def test_steps_and_early_stopping_follow_from_the_molecules(small, order, count, elements, steps, patience):
    training = recipe_for(small, order, count, elements, {}).training
    assert (training.steps, training.patience, training.initial) == (steps, patience, "qm9-small")
    assert training.evaluate_every == steps // 20


def test_what_follows_from_the_steps_follows_from_those_that_are_asked_for(small, order):
    changes = {"training.steps": 3000, "training.patience": 8, "training.warmup_steps": 7}
    training = recipe_for(small, order, 60, (1, 6), changes).training
    assert (training.evaluate_every, training.ema_decay) == (150, 1 - 10 / 3000)
    assert (training.patience, training.warmup_steps) == (8, 7)
    assert recipe_for(small, order, 60, (1, 6), {"training.steps": 2}).training.evaluate_every == 1
    with pytest.raises(ConfigError, match=r"sampler\.corrector_levels has no effect"):
        recipe_for(small, order, 60, (1, 6), {"sampler.corrector_levels": [0.0, 0.1]})


@pytest.mark.parametrize(("base", "word"), [("qm9-cond", "is asked for alpha"), ("qm9-fast", "is distilled")])
def test_models_that_cannot_be_adapted_are_refused(order, base, word):
    with pytest.raises(ConfigError, match=word):
        recipe_for(load_checkpoint(base), order, 50, (1, 6), {})


def test_half_of_what_is_learnt_is_the_users_and_statistics_are_theirs_alone(order, make_molecules):
    """4 molecules beside 12 companions are repeated three times; the sizes of the companions count for nothing."""
    few, many = make_molecules((4, 5, 5, 6)), make_molecules((9,) * 12)
    session = Material(few, many).session(order)
    assert sorted(session.train.num_atoms.tolist()) == sorted([4, 5, 5, 6] * 3 + [9] * 12)
    assert session.statistics.sizes == {4: 1, 5: 2, 6: 1}
    assert not len(session.valid)
    turned = Material(many, few).session(order)
    assert len(turned.train) == 24
    assert turned.statistics.sizes == {9: 12}


def test_conformers_of_a_molecule_are_held_out_together(order, make_molecules):
    plain = make_molecules((5,) * 60)
    names = np.repeat([f"molecule {number}" for number in range(30)], 2)
    mine = MoleculeSet(plain.num_atoms, plain.charges, plain.positions, {"molecule": names})
    session = Material(mine, mine.select([])).session(order)
    held_out = np.round(session.valid.positions[::5, 0]).astype(int)  # the first coordinate is the number
    assert len(held_out) == 6
    assert len(session.train) == 54
    assert sorted(held_out) == sorted(held_out ^ 1)


def test_a_second_call_takes_what_the_first_has_built(order, molecules, tmp_path, monkeypatch):
    first = gather(order, tmp_path / "out", 1, silent)
    beside_companions(order, first, tmp_path / "out", 1, silent)
    for name in ("read_own", "companions_of"):
        monkeypatch.setattr(adaptation, name, lambda *_: pytest.fail("read again"))
    second = beside_companions(order, gather(order, tmp_path / "out", 1, silent), tmp_path / "out", 1, silent)
    assert np.array_equal(first.positions, molecules.positions)
    assert np.array_equal(second.mine.positions, molecules.positions)
    assert not len(second.companions)
    other = Order(order.source, "qm9-deep", 0)
    with pytest.raises(CheckpointError, match=r"with another base \(qm9-small, not qm9-deep\); choose another folder"):
        gather(other, tmp_path / "out", 1, silent)


ETHANOL = MoleculeSet.from_lists(
    [[6, 6, 8, 1, 1, 1, 1, 1, 1]],
    [
        [
            [-0.89, 0.17, -0.03],
            [0.47, -0.5, -0.02],
            [1.43, 0.4, 0.55],
            [-1.61, -0.45, -0.55],
            [-1.24, 0.32, 1.0],
            [-0.84, 1.13, -0.54],
            [0.78, -0.69, -1.06],
            [0.44, -1.45, 0.54],
            [2.28, -0.04, 0.55],
        ]
    ],
)


def test_companions_are_like_the_molecules_but_none_of_them(monkeypatch):
    listed = [Candidate(n, smiles) for n, smiles in enumerate(["C1CCC1", "CCO", "CCCO", "CCOC"], start=1)]
    monkeypatch.setattr(companions, "demo_candidates", lambda largest, elements: listed)
    found = companions_of(ETHANOL, 2, 0, 1)
    assert [molecule.formula for molecule in found] == ["C3H8O", "C3H8O"]
    assert not len(companions_of(ETHANOL, 0, 0, 1))


def test_the_nearest_by_their_nearest_neighbour_come_first():
    listed = [Candidate(n, smiles) for n, smiles in enumerate(["CCCC", "c1ccccc1O", "CCCCO"])]
    assert [one.smiles for one in nearest(listed, ["c1ccccc1N", "CCCCCO"], 2)] == ["CCCCO", "c1ccccc1O"]
