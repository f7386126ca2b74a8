"""3D structures of SMILES: embedded with ETKDG version 3 and relaxed with MMFF94, by one process or several.

These are force-field geometries: good for trying things, not for claims about geometry.
"""

import contextlib
import functools
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from rdkit import rdBase

from ead_core.chemistry.embedding import embed
from ead_core.data.records import Outcome, ReadReport, Record, assemble, attempt, screen

_CHUNK = 8  # molecules that a worker takes at a time


class Candidate(NamedTuple):
    """A compound to be built: its number in a list, its SMILES, and what the list is called in reports."""

    number: int
    smiles: str
    of: str = "NCI"


def build(
    candidates: list[Candidate],
    count: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> ReadReport:
    """One conformer of each candidate, in their order, a function of (seed, number) alone.

    More than one worker means spawned processes, so a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        candidates: what is to be built.
        count: stop after so many molecules; None builds all.
        seed: of the embedding.
        workers: processes; 1 works in this one.
        progress: called after each candidate with the number of molecules built so far.

    Returns:
        Molecules with the properties `index` and `smiles`, and the candidates that RDKit could not build.
    """
    with _mapper(workers) as mapper:
        return screen(assemble(_first(mapper(functools.partial(_build, seed=seed), candidates), count, progress)))


def _build(candidate: Candidate, seed: int) -> Outcome:
    with rdBase.BlockLogs():
        return attempt(f"{candidate.of} {candidate.number}", functools.partial(_embed, candidate, seed))


def _embed(candidate: Candidate, seed: int) -> Record:
    own = int(np.random.SeedSequence([seed, candidate.number]).generate_state(1)[0] >> 1)
    mol = embed(candidate.smiles, own)
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
