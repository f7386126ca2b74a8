"""What is done with cards and molecules afterwards: comparison, relaxation, strain."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from ead_core.chemistry.perception import perceive
from ead_core.data.formats import write_molecules
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import DataError
from ead_core.evaluation.compare import differences, load_evaluated, side_by_side
from ead_core.evaluation.evaluate import evaluate_files
from ead_core.evaluation.gfn2 import relax_gfn2
from ead_core.evaluation.relaxation import relax_files
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.strain import relax

SMILES = ("CCO", "c1ccncc1", "CC(=O)O", "C1CC1")


def shaken(molecules, which, by=0.6):
    """Some molecules made invalid."""
    noise = by * np.random.default_rng(0).normal(size=molecules.positions.shape)
    of = np.repeat(np.arange(len(molecules)), molecules.num_atoms)
    moved = molecules.positions + noise * np.isin(of, which)[:, None]
    return MoleculeSet(molecules.num_atoms, molecules.charges, moved.astype(np.float32), molecules.properties)


@pytest.fixture(scope="module")
def evaluated(make_set, tmp_path_factory):
    """The same molecules, three of them shaken, and the same in other order under other ids."""
    folder = tmp_path_factory.mktemp("compare")
    plain = make_set(*SMILES, id=np.arange(4))
    others = make_set(*SMILES[::-1], id=np.arange(4))
    for name, molecules in (("plain", plain), ("shaken", shaken(plain, [0, 1, 2])), ("others", others)):
        save_npz(molecules, folder / f"{name}.npz")
        evaluate_files([folder / f"{name}.npz"], folder / name, EvaluationPlan((), 0, 1))
    return {name: load_evaluated(folder / name) for name in ("plain", "shaken", "others")}


def test_equal_ids_and_sizes_are_pairs(evaluated):
    change = differences(evaluated["plain"], evaluated["shaken"])["strict_validity"]
    assert (change.difference, change.pairs) == (-0.75, 4)
    assert change.p_value == pytest.approx(0.25)  # McNemar with three against none: 2 · ½³


def test_equal_ids_of_other_sizes_are_independent(evaluated):
    change = differences(evaluated["plain"], evaluated["others"])["strict_validity"]
    assert (change.difference, change.pairs) == (0, 0)


def test_the_comparison_has_a_column_per_card(evaluated):
    rows = side_by_side(list(evaluated.values()))
    assert rows[0] == ["", "plain", "shaken", "others", "shaken − plain", "others − plain"]
    assert all(len(row) == 6 for row in rows)
    with pytest.raises(DataError, match="at least two"):
        side_by_side([evaluated["plain"]])


def test_strain_is_the_energy_that_a_force_field_takes_off(embedded):
    numbers, positions = embedded("CCO")
    mol = perceive(numbers, positions)
    assert relax(mol).strain == pytest.approx(0, abs=1e-3)
    stretched = positions.copy()
    stretched[0] += 0.1 * (positions[0] - positions[1]) / np.linalg.norm(positions[0] - positions[1])
    mol.GetConformer().SetPositions(stretched.astype(float))
    found = relax(mol)
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    before, after = (
        rdForceFieldHelpers.MMFFGetMoleculeForceField(m, properties).CalcEnergy() for m in (mol, found.mol)
    )
    assert found.strain == pytest.approx(before - after)
    assert found.strain > 1
    assert found.method == "MMFF94"
    assert 0 < found.rmsd < 0.2


def test_uff_takes_what_mmff_does_not_know(embedded):
    found = relax(perceive(*embedded("CB(C)C")))
    assert found.method == "UFF"


def test_gfn2_relaxes(embedded):
    pytest.importorskip("tblite")
    pytest.importorskip("ase")
    found = relax_gfn2(perceive(*embedded("CCO")))
    assert 0 < found.strain < 5  # kcal/mol between the minima of MMFF94 and GFN2-xTB
    assert found.rmsd < 0.1
    assert found.converged


def test_relaxation_keeps_what_stays_itself(make_set, tmp_path):
    good = shaken(make_set(*SMILES, id=np.arange(4)), [0, 1, 2, 3], by=0.03)
    numbers, positions = good.molecule(1)
    torn = MoleculeSet.from_lists(
        [numbers, np.array([8, 1, 1, 8, 1, 1])],
        [0.6 * positions, np.concatenate([good.molecule(0)[1][:3], [[20, 0, 0], [20.96, 0, 0], [19.7, 0.93, 0]]])],
        {"id": np.array([4, 5])},
    )
    save_npz(MoleculeSet.concatenate([good, torn]), tmp_path / "all.npz")
    report = relax_files([tmp_path / "all.npz"], workers=1)
    assert report.attempts == 6
    assert report.molecules.properties["id"].tolist() == [0, 1, 2, 3]
    assert sum(report.dropped.values()) == 2
    for index in range(4):
        assert relax(perceive(*report.molecules.molecule(index))).strain < 0.01
    assert (report.molecules.properties["strain"] > 0.1).all()


def test_relaxation_keeps_charges_names_and_all_fields(make_set, tmp_path):
    ions = make_set("C[NH3+]", "[NH3+]CC(=O)[O-]", "CN=[N+]=[N-]", formal_charge=[1, 0, 0], name=["ion", "zwitter", ""])
    plain = make_set("CCO", "O", gap=[0.25, 0.5])
    save_npz(ions, tmp_path / "ions.npz")
    save_npz(plain, tmp_path / "plain.npz")
    report = relax_files([tmp_path / "ions.npz", tmp_path / "plain.npz"], workers=1)
    assert report.molecules.properties["name"].tolist() == ["ion", "zwitter", "", "", ""]
    np.testing.assert_array_equal(report.molecules.properties["gap"], [np.nan, np.nan, np.nan, 0.25, 0.5])
    write_molecules(report.molecules, tmp_path / "relaxed.sdf")
    mols = list(Chem.SDMolSupplier(str(tmp_path / "relaxed.sdf")))
    assert [Chem.MolToSmiles(mol) for mol in mols] == ["C[NH3+]", "[NH3+]CC(=O)[O-]", "CN=[N+]=[N-]", "CCO", "O"]
    assert [mol.GetProp("_Name") for mol in mols] == ["ion", "zwitter", "", "", ""]


def test_what_relaxation_drops_still_counts(make_set, tmp_path):
    before = shaken(make_set(*SMILES, id=np.arange(4)), [1, 3])
    save_npz(before, tmp_path / "before.npz")
    report = relax_files([tmp_path / "before.npz"], workers=1)
    assert (len(report.molecules), report.attempts, report.dropped.total()) == (2, 4, 2)
    save_npz(report.molecules, tmp_path / "after.npz")
    cards = []
    for name, lost in (("before", ()), ("after", report.lost)):
        evaluate_files([tmp_path / f"{name}.npz"], tmp_path / name, EvaluationPlan((), 0, 1), lost=lost)
        cards.append(load_evaluated(tmp_path / name))
    assert cards[1].card.attempts == 4
    assert cards[1].card.sections["strict"]["strict_validity"].value == 0.5
    assert sum(cards[1].card.failures.values()) == 2
    change = differences(*cards)["strict_validity"]
    assert (change.difference, change.pairs) == (0, 4)
