"""Perceived bonds against the SMILES from which coordinates were made."""

import numpy as np
import pytest
from rdkit import Chem

from ead_core.data.store import load_npz
from ead_core.evaluation.perception import PerceptionError, perceive
from ead_core.evaluation.valency import unusual_atoms, valencies, valency_table

NITRO = "O=[N+]([O-])c1ccc(O)cc1"


@pytest.mark.parametrize(
    "smiles",
    [
        "C",
        "O",
        "C#N",
        "c1ccncc1",
        "CC(=O)O",
        "C1CC2CC1C2",
        "OC12CC3(O)C1CC23",  # a cage whose atoms RDKit's own rule joins across
        NITRO,  # beyond RDKit's own perception
        "O=[N+]([O-])c1cc([N+](=O)[O-])cc(C)c1",
        "CS(C)(=O)=O",
        "CS(C)=O",
        "CSC(N)=O",  # here and below RDKit alone finds a cation and an anion in conjugation
        "O=C(O)c1sccc1S(N)(=O)=O",
        "CC(=O)Nc1ccccc1C(=O)O",
    ],
)
def test_bonds_are_those_of_the_smiles(embedded, smiles):
    mol = perceive(*embedded(smiles))
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(smiles)
    assert mol.GetNumConformers() == 1


@pytest.mark.parametrize(("smiles", "charge"), [("C[NH3+]", 1), ("CC(=O)[O-]", -1)])
def test_a_known_charge_is_used_and_its_absence_told(embedded, smiles, charge):
    assert Chem.GetFormalCharge(perceive(*embedded(smiles), charge)) == charge
    with pytest.raises(PerceptionError, match=r"charge 0|valence"):
        perceive(*embedded(smiles))


def test_what_cannot_be_bonded_is_refused(embedded):
    numbers, positions = embedded("CCO")
    with pytest.raises(PerceptionError):
        perceive(numbers, positions * 0.6)


def test_real_qm9_molecules_are_perceived(real_data):
    everything = load_npz(real_data / "qm9.npz")
    chosen = everything.select(np.random.default_rng(3).choice(len(everything), 300, replace=False))
    failed = 0
    for index in range(len(chosen)):
        try:
            perceive(*chosen.molecule(index))
        except PerceptionError:
            failed += 1
    assert failed <= 3  # 0.10 % of all 120,000 fail


class TestValencies:
    def test_aromatic_bonds_are_counted_not_added(self, embedded):
        found = set(valencies(perceive(*embedded("c1ccncc1"))))
        assert found == {("C", (2, 1)), ("N", (2, 0)), ("H", (0, 1))}

    def test_charges_make_kinds_of_their_own(self, embedded):
        found = dict(valencies(perceive(*embedded(NITRO))))
        assert (found["N+1"], found["O-1"], found["O"]) == ((0, 4), (0, 1), (0, 2))

    def test_rare_valencies_are_not_usual(self, embedded):
        counts = {("C", (0, 4)): 100, ("C", (0, 3)): 2, ("H", (0, 1)): 50}
        table = valency_table(counts, least=3)
        assert table == {"C": frozenset({(0, 4)}), "H": frozenset({(0, 1)})}
        assert unusual_atoms(valencies(perceive(*embedded("CCC"))), table) == 0
        assert unusual_atoms(valencies(perceive(*embedded("CCO"))), table) == 1  # oxygen is no kind of the table
        assert unusual_atoms([("C", (0, 3)), ("C", (1, 2))], table) == 2
