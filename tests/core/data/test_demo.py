"""The demo set: real molecules, the same ones whatever the number of processes, and nothing left running."""

import multiprocessing

import numpy as np
import pytest
from rdkit import Chem

from ead_core.data import demo
from ead_core.data.demo import Candidate, build_demo, demo_candidates
from ead_core.errors import DataError


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return demo_candidates(max_atoms=14)


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch, candidates: list[Candidate]) -> None:
    """Filtering all 5,000 compounds takes most of a second, and once is enough."""
    monkeypatch.setattr(demo, "demo_candidates", lambda max_atoms: candidates)


def test_candidates_qualify_and_are_distinct(candidates: list[Candidate]) -> None:
    assert len(candidates) > 30
    assert len({c.smiles for c in candidates}) == len(candidates)
    for candidate in candidates:
        mol = Chem.AddHs(Chem.MolFromSmiles(candidate.smiles))
        assert mol.GetNumAtoms() <= 14
        assert {atom.GetSymbol() for atom in mol.GetAtoms()} <= set("HCNOF")
        assert "." not in candidate.smiles
        assert Chem.GetFormalCharge(mol) == 0


def test_other_elements_are_taken_where_they_are_asked_for() -> None:
    found = demo_candidates(12, {1, 6, 16})
    assert any("S" in candidate.smiles for candidate in found)
    assert not any(set("NOF") & set(candidate.smiles) for candidate in found)


def test_molecules_are_what_their_smiles_say(candidates: list[Candidate]) -> None:
    seen: list[int] = []
    report = build_demo(6, seed=0, workers=1, progress=seen.append)
    molecules = report.molecules
    assert seen == [1, 2, 3, 4, 5, 6]
    assert molecules.properties["index"].tolist() == [c.number for c in candidates[:6]]
    for index, smiles in enumerate(molecules.properties["smiles"]):
        charges, positions = molecules.molecule(index)
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert charges.tolist() == [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        for bond in mol.GetBonds():
            length = np.linalg.norm(positions[bond.GetBeginAtomIdx()] - positions[bond.GetEndAtomIdx()])
            assert 0.9 < length < 1.7


def test_result_depends_on_the_seed_and_not_on_the_workers() -> None:
    one, two, other = (build_demo(6, seed, workers).molecules for seed, workers in ((3, 1), (3, 2), (4, 1)))
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.properties["smiles"], two.properties["smiles"])
    assert not np.array_equal(one.positions, other.positions)
    assert multiprocessing.active_children() == []


def test_interrupt_leaves_no_worker() -> None:
    def interrupt(done: int) -> None:
        assert multiprocessing.active_children() != []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(6, seed=0, workers=2, progress=interrupt)
    assert multiprocessing.active_children() == []


def test_failures_are_named_and_do_not_count(monkeypatch: pytest.MonkeyPatch, candidates: list[Candidate]) -> None:
    impossible = Candidate(77, "C1#CC1")  # cyclopropyne: the embedding gives up
    monkeypatch.setattr(demo, "demo_candidates", lambda max_atoms: [impossible, *candidates])
    report = build_demo(2)
    assert len(report.molecules) == 2
    assert [s.name for s in report.skipped] == ["NCI 77"]
    assert report.skipped[0].reason.startswith("'C1#CC1' ")


def test_nothing_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "demo_candidates", lambda max_atoms: [])
    with pytest.raises(DataError, match="no NCI compound of at most 2 atoms"):
        build_demo(max_atoms=2)
