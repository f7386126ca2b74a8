"""The SMILES of EDM's validity, from the bonds of its distance table (`rdkit_functions.py`).

A molecule is valid if RDKit can sanitise its bare atoms and bonds: no charges, and missing hydrogens are
added silently, so that only too many bonds or a failed kekulisation make it invalid. Hydrogens stay in the
SMILES. Of several pieces the largest stands for the molecule; being in pieces does not make it invalid.
"""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ead_core.chemistry.bare_molecules import bonded_atoms
from ead_core.common.cpu import available_cores
from ead_core.common.processes import end_with_parent
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.bonded_chunks import BondedChunk, MoleculeChunk, bonded, similar_chunks
from ead_core.evaluation.stability import stable_atoms_of

Progress = Callable[[int], object]

Assessed = tuple[NDArray[np.int64], list[str | None]]  # stable atoms and SMILES per molecule

PARALLEL_FROM = 10_000  # molecules; fewer (a second of work) are done before other processes have started

# All of RDKit's sanitising but what neither makes a molecule invalid nor shows in the SMILES of a graph without
# stereochemistry; that is a quarter of its time.
_SANITISE = Chem.SANITIZE_ALL & ~(
    Chem.SANITIZE_SETCONJUGATION
    | Chem.SANITIZE_SETHYBRIDIZATION
    | Chem.SANITIZE_CLEANUPCHIRALITY
    | Chem.SANITIZE_CLEANUPATROPISOMERS
)


def published_smiles(charges: NDArray[Any], positions: NDArray[Any]) -> str | None:
    """Canonical SMILES of the largest piece of one molecule, or None if it is invalid (see `smiles_of`)."""
    return smiles_of(MoleculeSet.from_lists([charges], [positions]))[0]


def smiles_of(
    molecules: MoleculeSet, workers: int | None = None, progress: Progress = lambda done: None
) -> list[str | None]:
    """Canonical SMILES of the largest piece of each molecule, None where it is invalid or not finite.

    Args and errors are those of `assess`.
    """
    return assess(molecules, workers, progress)[1]


def assess(molecules: MoleculeSet, workers: int | None = None, progress: Progress = lambda done: None) -> Assessed:
    """Stable atoms [M] (see stability.py) and SMILES (see `smiles_of`) of a set, its bonds found once.

    Many molecules are shared out to processes. These start afresh, so that a script needs the usual
    `if __name__ == "__main__":` around this; where none can be started, the caller's own does everything.

    Args:
        molecules: M molecules.
        workers: processes; None takes the cores of this process, but not more than OMP_NUM_THREADS (which Ray
            sets to the cores of its task).
        progress: receives the number of molecules finished since its last call.

    Raises:
        DataError: an atomic number outside 1 to 118.
    """
    stable_atoms = np.zeros(len(molecules), dtype=np.int64)
    smiles: list[str | None] = [None] * len(molecules)
    chunks = list(similar_chunks(molecules))
    for chunk, assessed in zip(chunks, _mapped(chunks, _processes(workers, len(molecules))), strict=True):
        stable_atoms[chunk.indices] = assessed[0]
        for index, text in zip(chunk.indices.tolist(), assessed[1], strict=True):
            smiles[index] = text
        progress(len(chunk.indices))
    return stable_atoms, smiles


def _processes(workers: int | None, count: int) -> int:
    if count < PARALLEL_FROM or multiprocessing.current_process().daemon:  # a daemon may not have children
        return 1
    if workers is not None:
        return max(workers, 1)
    return available_cores()


def _mapped(chunks: Sequence[MoleculeChunk], processes: int) -> Iterator[Assessed]:
    """`_assess_chunk` of each chunk in order."""
    done = 0
    if processes > 1:
        try:
            # spawned, because a fork of a process with torch's threads or a CUDA context may hang
            with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), end_with_parent) as pool:
                for assessed in pool.map(_assess_chunk, chunks):
                    yield assessed
                    done += 1
        except BrokenProcessPool:
            pass  # the children could not start or died; what is left is done here
    yield from map(_assess_chunk, chunks[done:])


def _assess_chunk(chunk: MoleculeChunk) -> Assessed:
    found = bonded(chunk)
    return stable_atoms_of(found), _smiles_of_chunk(found)


def _smiles_of_chunk(chunk: BondedChunk) -> list[str | None]:
    ends = np.searchsorted(chunk.bonds[:, 0], np.arange(len(chunk.indices) + 1))
    bonds = chunk.bonds[:, 1:].tolist()
    with rdBase.BlockLogs():
        return [
            _smiles(bonded_atoms(charges[charges > 0], bonds[start:end])) if finite else None
            for charges, finite, (start, end) in zip(
                chunk.charges, chunk.finite, itertools.pairwise(ends.tolist()), strict=True
            )
        ]


def _smiles(mol: Chem.RWMol) -> str | None:
    if Chem.SanitizeMol(mol, _SANITISE, catchErrors=True):  # names the step that failed
        return None
    if len(Chem.GetMolFrags(mol)) > 1:  # copying a molecule in one piece would only cost time
        mol = max(Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False), key=lambda piece: piece.GetNumAtoms())
    return str(Chem.MolToSmiles(mol))
