import tracemalloc

import numpy as np
import pytest

from benchmarks import reference_metrics
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation import bonded_chunks
from ead_core.evaluation.stability import stability

from ..conftest import BY_HAND, build, join


def reference_flags(molecules):
    return [reference_metrics.stable_atoms(*molecules.molecule(i)) for i in range(len(molecules))]


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_molecules_built_by_hand_are_stable(name, by_hand):
    assert stability(join(by_hand[name])).stable.all()


def test_agrees_with_the_plain_loops(shaken):
    result, expected = stability(shaken), reference_flags(shaken)
    assert result.stable_atoms.tolist() == [sum(flags) for flags in expected]
    assert result.stable.tolist() == [all(flags) for flags in expected]
    assert 0.1 < result.molecule_stability < 0.9  # both answers occur


def test_agrees_with_the_plain_loops_on_shaken_qm9(qm9):
    rng = np.random.default_rng(5)
    chosen = qm9.select(rng.permutation(len(qm9))[:300])
    noise = np.repeat(np.linspace(0, 0.1, 300), chosen.num_atoms)[:, None] * rng.normal(size=(len(chosen.charges), 3))
    moved = MoleculeSet(chosen.num_atoms, chosen.charges, chosen.positions + noise)
    assert stability(moved).stable_atoms.tolist() == [sum(flags) for flags in reference_flags(moved)]


def test_does_not_depend_on_the_chunks(shaken, monkeypatch):
    whole = stability(shaken)
    monkeypatch.setattr(bonded_chunks, "PAIRS_PER_CHUNK", 50)
    assert (stability(shaken).stable_atoms == whole.stable_atoms).all()


def test_atoms_are_pooled_over_molecules_of_different_size(by_hand):
    broken = build("HHH", [[0, 0, 0], [5, 0, 0], [10, 0, 0]])
    result = stability(join(by_hand["methane"], broken))
    assert result.atom_stability == 5 / 8
    assert result.molecule_stability == 1 / 2


def test_a_single_atom_a_crowd_at_one_place_and_a_missing_hydrogen_are_unstable(by_hand):
    charges, positions = by_hand["methane"]
    crowd = build("CCHH", np.zeros((4, 3)))
    result = stability(join(build("C", [[0, 0, 0]]), crowd, (charges[:-1], positions[:-1])))
    assert result.stable_atoms.tolist() == [0, 0, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_atom_is_stable_beside_a_coordinate_that_is_not_finite(value, by_hand):
    charges, positions = by_hand["methane"]
    lost = positions.copy()
    lost[4, 1] = value
    two_pieces = build("HHHH", [[0, 0, 0], [0.74, 0, 0], [value, 0, 0], [9, 0, 0]])
    result = stability(join((charges, positions), (charges, lost), two_pieces))
    assert result.stable_atoms.tolist() == [5, 0, 0]


def test_large_molecules_need_little_memory():
    sizes = np.full(40, 500)
    positions = 20 * np.random.default_rng(0).random((sizes.sum(), 3))
    molecules = MoleculeSet(sizes, np.full(sizes.sum(), 6), positions)
    tracemalloc.start()
    stability(molecules)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


def test_an_empty_set_is_a_mistake():
    with pytest.raises(DataError, match="no molecules"):
        stability(MoleculeSet.from_lists([], []))
