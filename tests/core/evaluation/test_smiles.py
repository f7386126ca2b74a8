from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import numpy as np
import pytest
from rdkit import Chem, rdBase

from benchmarks import reference_metrics
from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.data.store import MoleculeSet
from ead_core.evaluation import smiles as chemistry
from ead_core.evaluation.smiles import published_smiles, smiles_of

from ..conftest import TETRAHEDRON, build, join


def reference_smiles(molecules):
    return [reference_metrics.valid_smiles(*molecules.molecule(i)) for i in range(len(molecules))]


@pytest.mark.parametrize(
    ("name", "smiles"),
    [
        ("methane", "[H]C([H])([H])[H]"),
        ("carbon dioxide", "O=C=O"),
        ("hydrogen cyanide", "[H]C#N"),
        ("water", "[H]O[H]"),
        ("acetylene", "[H]C#C[H]"),
        ("carbonyl fluoride", "O=C(F)F"),
    ],
)
def test_smiles_of_molecules_built_by_hand(name, smiles, by_hand):
    assert published_smiles(*by_hand[name]) == smiles


def test_agrees_with_the_plain_route(shaken):
    smiles = smiles_of(shaken)
    assert smiles == reference_smiles(shaken)
    assert None in smiles


def test_agrees_with_the_plain_route_on_shaken_qm9(qm9):
    rng = np.random.default_rng(6)
    chosen = qm9.select(rng.permutation(len(qm9))[:200])
    moved = MoleculeSet(
        chosen.num_atoms, chosen.charges, chosen.positions + 0.05 * rng.normal(size=chosen.positions.shape)
    )
    assert smiles_of(moved) == reference_smiles(moved)


def test_agrees_with_all_of_rdkits_sanitising_for_any_elements():
    rng = np.random.default_rng(2)
    heaps = [(rng.integers(1, 60, n), rng.uniform(0, 3.5, (n, 3))) for n in rng.integers(2, 9, 300)]
    found = smiles_of(join(*heaps))
    with rdBase.BlockLogs():
        assert found == [wholly_sanitised(molecule_by_table(*heap)) for heap in heaps]
    assert 50 < found.count(None) < 250


def wholly_sanitised(mol):
    if Chem.SanitizeMol(mol, catchErrors=True):
        return None
    return Chem.MolToSmiles(max(Chem.GetMolFrags(mol, asMols=True), key=lambda piece: piece.GetNumAtoms()))


def test_missing_hydrogens_are_valid_and_too_many_are_not():
    assert published_smiles(*build("C", [[0, 0, 0]])) == "C"
    too_many = build("CHHHHH", [[0, 0, 0], *(1.09 * TETRAHEDRON), [0, 0, 1.09]])
    assert published_smiles(*too_many) is None


def test_the_largest_piece_stands_for_a_molecule_in_pieces():
    charges, positions = build("OHHNN", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [9, 0, 0], [10.1, 0, 0]])
    assert published_smiles(charges, positions) == "[H]O[H]"


def test_the_first_of_equally_large_pieces_stands_for_the_molecule():
    assert published_smiles(*build("NNHH", [[0, 0, 0], [1.1, 0, 0], [9, 0, 0], [9.74, 0, 0]])) == "N#N"
    assert published_smiles(*build("HHNN", [[9, 0, 0], [9.74, 0, 0], [0, 0, 0], [1.1, 0, 0]])) == "[H][H]"


def test_coordinates_that_are_not_finite_are_invalid(by_hand):
    charges, positions = by_hand["water"]
    lost = positions.copy()
    lost[1, 0] = np.nan
    assert smiles_of(join((charges, lost), (charges, positions))) == [None, "[H]O[H]"]


def test_rdkit_molecules_have_bonds_and_a_conformer(by_hand):
    charges, positions = by_hand["hydrogen cyanide"]
    mol = molecule_by_table(charges, positions)
    kinds = [bond.GetBondType() for bond in mol.GetBonds()]
    assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == [1, 6, 7]
    assert kinds == [Chem.BondType.SINGLE, Chem.BondType.TRIPLE]
    assert mol.GetConformer().Is3D()
    np.testing.assert_allclose(mol.GetConformer().GetPositions(), positions, atol=1e-6)


def test_rdkit_molecules_may_hold_other_elements():
    charges, positions = np.array([16, 6, 17]), np.array([[0, 0, 0], [1.82, 0, 0], [3.6, 0, 0]])
    assert molecule_by_table(charges, positions).GetNumBonds() == 2


def test_rdkit_keeps_silent(shaken, capfd):
    smiles_of(shaken)
    assert capfd.readouterr() == ("", "")


def test_progress_counts_every_molecule(shaken):
    done = []
    smiles_of(shaken, progress=done.append)
    assert sum(done) == len(shaken)


def test_processes_give_the_same(shaken, monkeypatch):
    alone = smiles_of(shaken)
    monkeypatch.setattr(chemistry, "PARALLEL_FROM", 1)
    assert smiles_of(shaken, workers=2) == alone


class _BrokenPool:
    def __init__(self, *args):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def map(self, function, chunks):
        yield function(chunks[0])
        raise BrokenProcessPool


def test_what_broken_processes_leave_is_done_here(shaken, monkeypatch):
    alone = smiles_of(shaken)
    monkeypatch.setattr(chemistry, "PARALLEL_FROM", 1)
    monkeypatch.setattr(chemistry, "ProcessPoolExecutor", _BrokenPool)
    assert smiles_of(shaken, workers=2) == alone


def test_the_number_of_processes(monkeypatch):
    many = chemistry.PARALLEL_FROM
    assert chemistry._processes(8, many - 1) == 1
    assert chemistry._processes(8, many) == 8
    assert chemistry._processes(0, many) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert chemistry._processes(None, many) == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert chemistry._processes(None, many) >= 1
    monkeypatch.setattr(chemistry.multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    assert chemistry._processes(8, many) == 1
