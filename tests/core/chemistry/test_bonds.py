import numpy as np
import pytest

from benchmarks.reference_metrics import DOUBLE, SINGLE, TRIPLE
from ead_core.chemistry.bonds import find_bonds, stable_valences
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation import bonded_chunks as module
from ead_core.evaluation.bonded_chunks import bonded_chunks

NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9, "S": 16, "Na": 11, "Br": 35}
LIMITS = [
    (first, second, order, length + margin)
    for order, (table, margin) in enumerate([(SINGLE, 10), (DOUBLE, 5), (TRIPLE, 3)], start=1)
    for first, row in table.items()
    for second, length in row.items()
]


def order_at(first, second, distance):
    charges = np.array([[NUMBERS[first], NUMBERS[second]]])
    bonds = find_bonds(charges, np.array([[[0, 0, 0], [0, 0, distance]]], dtype=np.float32))
    return bonds[0, 3] if len(bonds) else 0


def test_the_published_table_is_complete():
    assert len(LIMITS) == 25 + 9 + 6  # 15 + 6 + 4 pairs, in both directions


@pytest.mark.parametrize(("first", "second", "order", "limit"), LIMITS)
def test_every_limit_is_strict(first, second, order, limit):
    assert order_at(first, second, limit / 100) == order - 1
    assert order_at(first, second, (limit - 0.01) / 100) == order


def test_bonds_are_listed_once_in_order_and_never_to_padding():
    rng = np.random.default_rng(0)
    charges = rng.choice([1, 6, 7, 8, 9], size=(20, 9))
    charges[:, 6:] = 0
    bonds = find_bonds(charges, rng.normal(size=(20, 9, 3)))
    molecule, later, earlier, order = bonds.T
    assert (later > earlier).all()
    assert (later < 6).all()
    assert set(order) == {1, 2, 3}
    keys = [tuple(row) for row in bonds[:, :3]]
    assert keys == sorted(set(keys))
    assert set(molecule) == set(range(20))


def test_without_near_atoms_there_are_no_bonds():
    assert find_bonds(np.full((2, 3), 6), 9 * np.arange(18).reshape(2, 3, 3)).shape == (0, 4)
    assert find_bonds(np.array([[6]]), np.zeros((1, 1, 3))).shape == (0, 4)


def test_atoms_at_one_place_have_the_highest_order_of_their_pair():
    assert [order_at(*pair, 0.0) for pair in ("HH", "OO", "CC", "CO", "NN")] == [1, 2, 3, 3, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_atoms_that_flew_away_have_no_bonds(value):
    assert order_at("C", "C", value) == 0


def test_other_elements_bond_singly_by_covalent_radii():
    assert order_at("C", "S", 1.82) == 1
    assert order_at("C", "S", 1.20) == 1
    assert order_at("C", "S", 0.76 + 1.05 + 0.101) == 0
    assert order_at("C", "Br", 1.94) == 1


@pytest.mark.parametrize(
    ("symbol", "stable"),
    [("H", {1}), ("C", {4}), ("N", {3}), ("O", {2}), ("F", {1}), ("S", {2, 4, 6}), ("Br", {1})],
)
def test_valences(symbol, stable):
    found = set()
    charges = np.array([[NUMBERS[symbol]] + [0] * 12])
    for valence in range(13):
        bonds = np.zeros((valence, 4), dtype=np.int64)
        bonds[:, 1], bonds[:, 3] = np.arange(1, valence + 1), 1
        if stable_valences(charges, bonds)[0, 0]:
            found.add(valence)
    assert found == stable


def test_metals_may_have_any_valence_and_padding_none():
    alone = np.zeros((0, 4), dtype=np.int64)
    assert stable_valences(np.array([[NUMBERS["Na"], 0]]), alone).tolist() == [[True, False]]


def test_unknown_elements_are_named_as_the_mistake():
    with pytest.raises(DataError, match="1 and 118"):
        find_bonds(np.array([[119]]), np.zeros((1, 1, 3)))
    with pytest.raises(DataError, match="1 and 118"):
        next(bonded_chunks(MoleculeSet([1], [0], np.zeros((1, 3)))))


def test_chunks_hold_every_molecule_once_and_stay_small(monkeypatch):
    monkeypatch.setattr(module, "PAIRS_PER_CHUNK", 200)
    sizes = np.random.default_rng(0).integers(1, 20, size=100)
    chunks = list(bonded_chunks(MoleculeSet(sizes, np.ones(sizes.sum()), np.zeros((sizes.sum(), 3)))))
    assert sorted(np.concatenate([chunk.indices for chunk in chunks])) == list(range(100))
    assert all(chunk.charges.size * chunk.charges.shape[1] <= 200 or len(chunk.charges) == 1 for chunk in chunks)
    assert all(((chunk.charges > 0).sum(axis=1) == sizes[chunk.indices]).all() for chunk in chunks)
