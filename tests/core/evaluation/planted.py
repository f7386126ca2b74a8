"""Tasks that go wrong on chosen molecules, in a module of their own because other processes import it."""

import os
import signal
import time

from ead_core.evaluation.chunk import Measured
from ead_core.evaluation.isolated_workers import time_limit

HANGS, CRASHES, RAISES = 3, 5, 7  # atoms of the molecules
FOREVER = 60  # seconds


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
        if HANGS in chunk.molecules.num_atoms:
            time.sleep(FOREVER)
    return Measured([{"hard": int(size)} for size in chunk.molecules.num_atoms])


def leaves_its_number(chunk):
    """Says where it is by a file of that name, and stays."""
    open(f"process-{os.getpid()}", "w").close()
    time.sleep(FOREVER)
