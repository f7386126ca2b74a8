"""Tasks that go wrong on chosen molecules, in a module of their own because other processes import it.

They import little: each process does so anew.
"""

import os
import signal
import time

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.evaluation.chunk import Chunk, Measured
from ead_core.evaluation.isolated_workers import time_limit

HANGS, CRASHES, RAISES = 3, 5, 7  # atoms of the molecules
FOREVER = 60  # seconds


def chunk_of(first, sizes):
    molecules = MoleculeSet.from_lists([np.full(n, 6) for n in sizes], [np.zeros((n, 3)) for n in sizes])
    return Chunk(first, molecules, np.zeros(len(sizes), dtype=bool))


def planted(chunk):
    rows = []
    for index, size in enumerate(chunk.molecules.num_atoms):
        with time_limit(1.0):
            if size == HANGS:
                time.sleep(FOREVER)
            if size == CRASHES:
                os.kill(os.getpid(), signal.SIGSEGV)
            if size == RAISES:
                raise ZeroDivisionError("planted")
        rows.append({"number": chunk.first + index})
    return Measured(rows)


def easy(chunk):
    return Measured([{"easy": int(size)} for size in chunk.molecules.num_atoms])


def only_hangs(chunk):
    with time_limit(1.0):
        if not {HANGS, RAISES}.isdisjoint(chunk.molecules.num_atoms):
            time.sleep(FOREVER)
    return Measured([{"hard": int(size)} for size in chunk.molecules.num_atoms])


def only_raises(chunk):
    if RAISES in chunk.molecules.num_atoms:
        raise ZeroDivisionError("planted")
    return Measured([{"rough": int(size)} for size in chunk.molecules.num_atoms])


def leaves_its_number(chunk):
    """Says where it is by a file of that name, and stays."""
    open(f"process-{os.getpid()}", "w").close()
    time.sleep(FOREVER)


def killed_at_first(chunk, deaths):
    """As by somebody else: the processes of the first calls are killed."""
    calls = len(os.listdir())
    open(f"call-{calls}", "w").close()
    if calls < deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return Measured([{"atoms": int(size)} for size in chunk.molecules.num_atoms])
