"""Tasks that go wrong on chosen molecules, in a module of their own because other processes import it."""

import os
import signal
import time

from ead_core.evaluation.chunk import Measured
from ead_core.evaluation.contained import time_limit

HANGS, CRASHES, RAISES = 3, 5, 7  # atoms of the molecules


def planted(chunk):
    rows = []
    for index, size in enumerate(chunk.molecules.num_atoms):
        with time_limit(1.0):
            if size == HANGS:
                time.sleep(60)
            if size == CRASHES:
                os.kill(os.getpid(), signal.SIGSEGV)
            if size == RAISES:
                raise ZeroDivisionError("planted")
        rows.append({"number": chunk.first + index})
    return Measured(rows)
