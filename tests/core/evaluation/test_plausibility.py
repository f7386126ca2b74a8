"""PoseBusters' checks, called directly and partly computed anew: the verdicts are PoseBusters' own."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from ead_core.chemistry.perception import PerceptionError, perceive
from ead_core.data.store import load_npz
from ead_core.evaluation import plausibility
from ead_core.evaluation.plausibility import failed_checks, posebusters_version
from ead_core.evaluation.quick_distances import COMPARED_WITH, quick_distances

CHECKS = ("bond_lengths_within_bounds", "bond_angles_within_bounds", "no_internal_clash")


@pytest.fixture(scope="module")
def buster():
    posebusters = pytest.importorskip("posebusters")
    return posebusters.PoseBusters(config="mol_fast")


@pytest.fixture(scope="module")
def parameters(buster):
    (module,) = (module for module in buster.config["modules"] if module["function"] == "distance_geometry")
    return module["parameters"]


def perceived(molecules):
    for molecule in molecules:
        try:
            yield perceive(molecule.charges, molecule.positions, molecule.total_charge)
        except PerceptionError:
            continue


def moved(mol, positions):
    mol = Chem.Mol(mol)
    mol.GetConformer().SetPositions(np.asarray(positions, dtype=np.float64))
    return mol


def scaled(mol, rng):
    return moved(mol, mol.GetConformer().GetPositions() * rng.uniform(0.6, 1.5))


def shaken(mol, rng):
    positions = mol.GetConformer().GetPositions()
    return moved(mol, positions + rng.normal(0, rng.choice([0.05, 0.15, 0.3, 0.6]), positions.shape))


def clashing(mol, rng):
    positions = mol.GetConformer().GetPositions()
    one, other = rng.choice(len(positions), 2, replace=False)
    positions[one] = positions[other] + rng.normal(0, 0.8, 3)
    return moved(mol, positions)


def stretched(mol, rng):
    mol = Chem.Mol(mol)
    bonds = mol.GetSubstructMatches(Chem.MolFromSmarts("[!#1]!@[!#1]"))
    if bonds:
        rdMolTransforms.SetBondLength(mol.GetConformer(), *bonds[rng.integers(len(bonds))], rng.uniform(0.7, 2.4))
    return mol


def flattened(mol, rng):
    positions = mol.GetConformer().GetPositions()
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    return moved(mol, positions - rng.uniform(0.2, 0.9) * np.outer(positions @ axis, axis))


def bent_rings(mol, rng):
    positions = mol.GetConformer().GetPositions()
    for ring in map(list, mol.GetRingInfo().AtomRings()):
        positions[ring] += rng.normal(0, 0.35, (len(ring), 3))
    return moved(mol, positions)


def doubled(mol, rng):
    positions = mol.GetConformer().GetPositions()
    pair = moved(Chem.CombineMols(mol, mol), np.concatenate([positions, positions + rng.normal(0, 4, 3)]))
    Chem.SanitizeMol(pair)
    return pair


def without_an_atom(mol, rng):
    smaller = Chem.RWMol(mol)
    smaller.RemoveAtom(int(rng.integers(mol.GetNumAtoms())))
    for atom in smaller.GetAtoms():
        atom.SetNoImplicit(True)
    return smaller.GetMol()


WAYS = (scaled, shaken, clashing, stretched, flattened, bent_rings, doubled, without_an_atom)


def asked(buster, mol):
    """What PoseBusters' own table says."""
    return tuple(str(name) for name, passed in buster.bust([Chem.Mol(mol)]).iloc[0].items() if not bool(passed))


def test_verdicts_are_those_of_posebusters(buster, make_set):
    rng = np.random.default_rng(0)
    whole = list(perceived(make_set("C", "CCO", "C[N+](=O)[O-]", "O=c1cc[nH]cc1", "C1CC1CC=C", "OCC1CCCCC1")))
    broken = [break_(mol, rng) for break_, mol in zip(WAYS, [*whole[1:], *whole[1:]], strict=False)]
    found = [failed_checks(mol) for mol in [*whole, *broken]]
    assert found == [asked(buster, mol) for mol in [*whole, *broken]]
    assert not any(found[: len(whole)])
    assert {"bond_lengths", "bond_angles", "all_atoms_connected"} <= {name for names in found for name in names}


@pytest.mark.slow
def test_quick_distances_say_what_posebusters_says(real_data, parameters):
    """Of real molecules and broken ones, check by check."""
    check_geometry = pytest.importorskip("posebusters.modules.distance_geometry").check_geometry
    rng = np.random.default_rng(0)
    molecules = load_npz(real_data / "qm9.npz")
    real = list(perceived(molecules.select(rng.permutation(len(molecules))[:70])))
    broken = [WAYS[place % len(WAYS)](mol, rng) for place, mol in enumerate([*real, *real])]
    answered = 0
    failures = dict.fromkeys(CHECKS, 0)
    for mol in [*real, *broken]:
        quick = quick_distances(mol, parameters)
        if quick is None:
            continue
        theirs = check_geometry(Chem.Mol(mol), **parameters)["results"]
        assert quick == {name: theirs[name] for name in CHECKS}
        answered += 1
        failures = {name: count + (not quick[name]) for name, count in failures.items()}
    assert len(real) >= 60
    assert answered > 0.9 * len(real) + 0.6 * len(broken)
    assert min(failures.values()) > 5


def test_what_is_unusual_is_left_to_posebusters(make_set, parameters):
    rng = np.random.default_rng(0)
    ethanol, nitro = perceived(make_set("CCO", "C[N+](=O)[O-]"))
    positions = ethanol.GetConformer().GetPositions()
    assert quick_distances(ethanol, parameters) == dict.fromkeys(CHECKS, True)
    assert quick_distances(nitro, parameters) is None  # whose two oxygen atoms PoseBusters treats alike
    assert quick_distances(doubled(ethanol, rng), parameters) is None
    assert (
        quick_distances(moved(ethanol, np.where(positions == positions[0, 0], np.nan, positions)), parameters) is None
    )
    assert quick_distances(Chem.Mol(), parameters) is None


def test_a_pair_at_its_limit_is_left_to_posebusters(make_set, parameters):
    """The bond of methane's neighbour, ethane, at exactly the longest that passes."""
    (ethane,) = perceived(make_set("CC"))
    positions = ethane.GetConformer().GetPositions()
    heavy = [atom.GetIdx() for atom in ethane.GetAtoms() if atom.GetAtomicNum() > 1]
    bounds = Chem.rdDistGeom.GetMoleculeBoundsMatrix(ethane, **parameters["bound_matrix_params"])
    longest = bounds[heavy[0], heavy[1]] * (1 + parameters["threshold_bad_bond_length"])
    found = []
    for length in (longest - 1e-6, longest, longest + 1e-6):
        positions[heavy] = [[0, 0, 0], [length, 0, 0]]
        quick = quick_distances(moved(ethane, positions), parameters)
        found.append(quick and quick["bond_lengths_within_bounds"])
    assert found == [True, None, False]


def test_another_version_of_posebusters_is_asked_itself(make_set, monkeypatch):
    assert posebusters_version() == COMPARED_WITH, "compare the new version (the slow test), then raise COMPARED_WITH"
    (ethanol,) = perceived(make_set("CCO"))
    monkeypatch.setattr(plausibility, "quick_distances", lambda mol, parameters: dict.fromkeys(CHECKS, False))
    plausibility._modules.cache_clear()
    assert failed_checks(ethanol) == ("bond_lengths", "bond_angles", "internal_steric_clash")
    monkeypatch.setattr(plausibility, "posebusters_version", lambda: "another")
    plausibility._modules.cache_clear()
    assert failed_checks(ethanol) == ()
    plausibility._modules.cache_clear()
