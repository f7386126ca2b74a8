"""A molecule that hangs, crashes or raises costs itself and nothing else."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.evaluation.chunk import Chunk
from ead_core.evaluation.contained import done_apart


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # spawned processes take over sys.path
    yield __import__("planted")
    sys.modules.pop("planted")


def chunk_of(first, sizes):
    molecules = MoleculeSet.from_lists([np.full(n, 6) for n in sizes], [np.zeros((n, 3)) for n in sizes])
    return Chunk(first, molecules, np.zeros(len(sizes), dtype=bool))


def test_only_the_planted_molecules_fail(planted):
    bad = [1, planted.HANGS, 2, planted.CRASHES, planted.RAISES]
    chunks = [chunk_of(0, [1, 2]), chunk_of(2, bad), chunk_of(7, [1])]
    origins, outcomes = zip(*done_apart(planted.planted, zip("abc", chunks, strict=True), workers=1), strict=True)
    assert origins == ("a", "b", "c")
    assert [len(one) for one in outcomes] == [1, 5, 1]
    failed = {o.chunk.first: o.failure for one in outcomes for o in one if o.failure}
    assert failed.keys() == {3, 5, 6}
    assert failed[3] == "it took too long"
    assert failed[5].startswith("it ended the process")
    assert failed[6] == "ZeroDivisionError: planted"
    rows = [row["number"] for one in outcomes for o in one if o.result for row in o.result.rows]
    assert rows == [0, 1, 2, 4, 7]
