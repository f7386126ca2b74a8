"""A planted trace: a synchronous prefix, then atoms that settle in an order of our choice."""

import numpy as np
import pytest

from ead_core.traces.trace import MoleculeTrace

PREFIX = 40


@pytest.fixture(scope="session")
def plant():
    """Atom i needs `pace[i]` calls for each of the last ten levels; hydrogen and carbon in turn."""

    def make(pace=(3, 1, 2), prefix=PREFIX):
        sinking = np.arange(10 * max(pace) + 2)[:, None]
        tail = np.maximum(10 - sinking // np.array(pace), 0)
        head = np.repeat(np.arange(prefix)[::-1, None] + 11, len(pace), axis=1)
        levels = np.concatenate([head, tail]).astype(np.int32)
        line = 1.5 * np.arange(len(pace))[:, None] * [1.0, 0.0, 0.0]
        positions = np.tile(line, (len(levels), 1, 1)).astype(np.float32)
        charges = np.tile(np.resize([6, 1], len(pace)), (len(levels), 1)).astype(np.uint8)
        return MoleculeTrace(5, levels, np.zeros(levels.shape, np.float32), positions, charges)

    return make
