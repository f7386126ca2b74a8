"""Real molecules: SMILES with coordinates of RDKit's distance geometry, relaxed with MMFF94."""

import functools

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ead_core.data.store import MoleculeSet
from ead_core.evaluation import relaxation, run
from ead_core.evaluation.contained import Outcome


@functools.cache
def embed(smiles):
    """Atomic numbers and positions."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, mol.GetConformer().GetPositions().astype(np.float32)


@pytest.fixture(scope="session")
def embedded():
    return embed


@pytest.fixture(scope="session")
def make_set():
    def make(*smiles, **properties):
        pairs = [embed(one) for one in smiles]
        values = {name: np.array(column) for name, column in properties.items()}
        return MoleculeSet.from_lists([z for z, _ in pairs], [x for _, x in pairs], values)

    return make


def done_here(task, work, workers, stages=None):
    """As `done_apart`, without the seconds that other processes need to start; test_contained.py has the real one."""
    for origin, chunk in work:
        yield origin, [Outcome(chunk, (task(chunk),))]


@pytest.fixture(scope="session", autouse=True)
def _in_this_process():
    with pytest.MonkeyPatch.context() as patch:
        for module in (run, relaxation):
            patch.setattr(module, "done_apart", done_here)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
