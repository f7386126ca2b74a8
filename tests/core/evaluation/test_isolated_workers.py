"""A molecule that hangs, crashes or raises costs itself and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.evaluation.chunk import Chunk
from ead_core.evaluation.isolated_workers import done_apart


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
    rows = [row["number"] for one in outcomes for o in one for result in o.results for row in result.rows]
    assert rows == [0, 1, 2, 4, 7]


def test_a_molecule_keeps_what_does_not_fail(planted):
    stages = {"easy": planted.easy, "hard": planted.only_hangs, "harder": planted.only_hangs}
    work = [("a", chunk_of(0, [1, planted.HANGS])), ("b", chunk_of(2, [planted.RAISES]))]
    found = dict(done_apart(planted.planted, work, 1, stages))
    good, hangs = found["a"]
    assert [result.rows for result in good.results] == [[{"number": 0}]]
    assert [result.rows for result in hangs.results] == [[{"easy": planted.HANGS}]]
    assert hangs.failure == "hard, harder: it took too long"
    (raises,) = found["b"]  # fails with everything at once, but at no stage
    assert [result.rows[0] for result in raises.results] == [{"easy": 7}, {"hard": 7}, {"hard": 7}]
    assert raises.failure == ""


SCRIPT = """
from ead_core.evaluation.isolated_workers import done_apart
import planted
from test_isolated_workers import chunk_of
list(done_apart(planted.leaves_its_number, [(0, chunk_of(0, [1])), (1, chunk_of(1, [1]))], 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("deadly", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(tmp_path, deadly):
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(root), str(Path(__file__).parent)])
    starter = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths})
    children = _awaited(lambda: [int(file.name.split("-")[1]) for file in tmp_path.glob("process-*")], 2)
    assert len(children) == 2
    starter.send_signal(deadly)
    starter.wait()
    assert len(_awaited(lambda: [pid for pid in children if not _runs(pid)], 2)) == 2


def _awaited(found, count):
    """For half of the time that planted tasks would go on."""
    end = time.monotonic() + 30
    while len(found()) < count and time.monotonic() < end:
        time.sleep(0.05)
    return found()


def _runs(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
