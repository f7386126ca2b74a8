"""Real molecules that a small set is learnt together with, so that a model does not forget what others look like.

They are the NCI compounds of `ead data demo` that are most like the set: of its elements and sizes, and among these
those with the nearest neighbour in it by Tanimoto's similarity of Morgan fingerprints of radius 2.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from ead_core.chemistry.identity import perceived_smiles, without_stereo
from ead_core.data.demo import demo_candidates
from ead_core.data.store import MoleculeSet
from ead_core.data.structures import Candidate, build

MOST_COMPARED = 1000  # molecules of the set


def companions_of(
    molecules: MoleculeSet, count: int, seed: int, workers: int, progress: Callable[[int], None] | None = None
) -> MoleculeSet:
    """Up to `count` companions of a set, none of which is one of its molecules; without properties.

    Args:
        molecules: the set.
        count: how many; 0 for none.
        seed, workers, progress: as of `build`.
    """
    if not count:
        return molecules.select([])
    elements, known = frozenset(np.unique(molecules.charges).tolist()), smiles_of_set(molecules)
    smallest, largest = int(molecules.num_atoms.min()), int(molecules.num_atoms.max())
    candidates = [
        one
        for one in demo_candidates(largest, elements)
        if _size(one) >= smallest and without_stereo(one.smiles) not in known
    ]
    chosen = nearest(candidates, known, count + count // 10)  # some cannot be built
    found = build(chosen, count, seed, workers, progress).molecules
    return MoleculeSet(found.num_atoms, found.charges, found.positions)


def smiles_of_set(molecules: MoleculeSet) -> set[str]:
    """The SMILES of (at most `MOST_COMPARED`) molecules without stereochemistry, as far as bonds can be perceived."""
    some = np.random.default_rng(0).permutation(len(molecules))[:MOST_COMPARED]
    return {without_stereo(text) for text in perceived_smiles(molecules.select(np.sort(some))) if text}


def nearest(candidates: Sequence[Candidate], smiles: Collection[str], count: int) -> list[Candidate]:
    """The candidates whose nearest neighbour among some SMILES is nearest, in this order."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2)
    with rdBase.BlockLogs():
        mols = [mol for text in sorted(smiles) if (mol := Chem.MolFromSmiles(text)) is not None]
        ours = [generator.GetFingerprint(mol) for mol in mols]
        prints = [generator.GetFingerprint(Chem.MolFromSmiles(one.smiles)) for one in candidates]
    near = [max(DataStructs.BulkTanimotoSimilarity(one, ours), default=0.0) for one in prints]
    return [candidates[place] for place in np.argsort(-np.array(near), kind="stable")[:count]]


def _size(candidate: Candidate) -> int:
    return int(Chem.AddHs(Chem.MolFromSmiles(candidate.smiles)).GetNumAtoms())
