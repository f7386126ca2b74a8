"""Real molecules without any download: 3D structures of the NCI compounds whose SMILES come with RDKit.

The first 5,000 compounds of the NCI list are filtered (neutral, in one piece, only H, C, N, O and F, not
larger than `max_atoms`, no repetition), embedded with ETKDG version 3 and relaxed with MMFF94. These are
force-field geometries: good for trying the code, not for scientific claims.
"""

import contextlib
import functools
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rdkit import Chem, RDConfig, rdBase

from ead_core.chemistry.embedding import embed
from ead_core.data.records import Outcome, ReadReport, Record, assemble, attempt, screen
from ead_core.errors import DataError

ELEMENTS = frozenset({1, 6, 7, 8, 9})
MAX_ATOMS = 29  # with hydrogens, as in QM9

_CHUNK = 8  # molecules that a worker takes at a time


class Candidate(NamedTuple):
    """A compound that passes the filter: its number in the NCI list and its canonical SMILES."""

    number: int
    smiles: str


def build_demo(
    out_count: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    max_atoms: int = MAX_ATOMS,
) -> ReadReport:
    """Build 3D structures of the NCI compounds that qualify, in the order of the list.

    The result depends on `seed`, `out_count` and `max_atoms`, not on `workers`. More than one worker means
    spawned processes, so a script that calls this needs the usual `if __name__ == "__main__":`.

    Args:
        out_count: stop after so many molecules; None builds all.
        seed: of the embedding.
        workers: processes; 1 works in this one.
        progress: called after each compound with the number of molecules built so far.
        max_atoms: largest molecule, with hydrogens.

    Returns:
        Molecules with the properties `index` and `smiles`, and the compounds that RDKit could not build.

    Raises:
        DataError: RDKit comes without the list, or nothing could be built.
    """
    candidates = demo_candidates(max_atoms)
    build = functools.partial(_build, seed=seed)
    with _mapper(workers) as mapper:
        report = screen(assemble(_first(mapper(build, candidates), out_count, progress)))
    if not len(report.molecules):
        raise DataError(f"no NCI compound of at most {max_atoms} atoms could be built.")
    return report


def demo_candidates(max_atoms: int = MAX_ATOMS) -> list[Candidate]:
    """The compounds of the NCI list that qualify, each once; DataError if RDKit comes without the list."""
    path = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
    if not path.is_file():
        raise DataError(f"this RDKit comes without the NCI list ({path}); install the wheel from PyPI.")
    found: dict[str, int] = {}
    with rdBase.BlockLogs():  # a few of the compounds are not valid
        for line in path.read_text().splitlines():
            smiles, index = line.split()[:2]
            mol = Chem.MolFromSmiles(smiles)
            if mol is not None and _qualifies(mol, max_atoms):
                found.setdefault(Chem.MolToSmiles(mol), int(index))
    return [Candidate(index, smiles) for smiles, index in found.items()]


def _qualifies(mol: Chem.Mol, max_atoms: int) -> bool:
    hydrogens = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    return (
        len(Chem.GetMolFrags(mol)) == 1
        and Chem.GetFormalCharge(mol) == 0
        and ELEMENTS.issuperset(atom.GetAtomicNum() for atom in mol.GetAtoms())
        and mol.GetNumAtoms() + hydrogens <= max_atoms
    )


def _build(candidate: Candidate, seed: int) -> Outcome:
    with rdBase.BlockLogs():
        return attempt(f"NCI {candidate.number}", functools.partial(_embed, candidate, seed))


def _embed(candidate: Candidate, seed: int) -> Record:
    """One conformer, a function of (seed, number) alone."""
    mol = embed(candidate.smiles, int(np.random.SeedSequence([seed, candidate.number]).generate_state(1)[0] >> 1))
    charges = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    positions = mol.GetConformer().GetPositions()
    return Record(charges, positions, {"index": candidate.number, "smiles": candidate.smiles})


def _first(outcomes: Iterable[Outcome], count: int | None, progress: Callable[[int], None] | None) -> Iterator[Outcome]:
    """Outcomes until `count` of them are molecules."""
    built = 0
    for outcome in outcomes:
        built += isinstance(outcome[1], Record)
        if progress is not None:
            progress(built)
        yield outcome
        if built == count:
            return


Mapper = Callable[[Callable[[Candidate], Outcome], list[Candidate]], Iterable[Outcome]]


@contextlib.contextmanager
def _mapper(workers: int) -> Iterator[Mapper]:
    """An ordered map over one or more processes; on leaving, for whatever reason, no process is left."""
    if workers == 1:
        yield map
        return
    # Ctrl-C reaches the whole process group; the workers ignore it and are ended from here.
    pool = multiprocessing.get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield functools.partial(pool.imap, chunksize=_CHUNK)
    finally:
        pool.terminate()
        pool.join()
