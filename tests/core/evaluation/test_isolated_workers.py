"""A molecule that hangs, crashes or raises costs itself and nothing else."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ead_core.evaluation.isolated_workers import done_apart


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # spawned processes take over sys.path
    yield __import__("planted")
    sys.modules.pop("planted")


def test_only_the_planted_molecules_fail(planted):
    bad = [1, planted.HANGS, 2, planted.CRASHES, planted.RAISES]
    chunks = [planted.chunk_of(0, [1, 2]), planted.chunk_of(2, bad), planted.chunk_of(7, [1])]
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
    stages = {
        "easy": planted.easy,
        "hard": planted.only_hangs,
        "rough": planted.only_raises,
        "worse": planted.only_raises,
    }
    work = [("a", planted.chunk_of(0, [1, planted.RAISES])), ("b", planted.chunk_of(2, [planted.CRASHES]))]
    found = dict(done_apart(planted.planted, work, 1, stages))
    good, bad = found["a"]
    assert [result.rows for result in good.results] == [[{"number": 0}]]
    assert [result.rows for result in bad.results] == [[{"easy": planted.RAISES}]]
    assert bad.failure == "hard: it took too long; rough, worse: ZeroDivisionError: planted"
    (crashes,) = found["b"]  # fails with everything at once, but at no stage
    assert [result.rows[0] for result in crashes.results] == [{"easy": 5}, {"hard": 5}, {"rough": 5}, {"rough": 5}]
    assert crashes.failure == ""


@pytest.mark.parametrize(("staged", "deaths", "found"), [(True, 2, [{"atoms": 5}]), (False, 9, [])])
def test_a_killed_process_says_nothing_about_its_molecule(planted, tmp_path, monkeypatch, staged, deaths, found):
    monkeypatch.chdir(tmp_path)  # where calls are counted
    killed = functools.partial(planted.killed_at_first, deaths=deaths)
    task, stages = (planted.planted, {"late": killed}) if staged else (killed, None)
    [(_, [outcome])] = done_apart(task, [("a", planted.chunk_of(0, [planted.CRASHES]))], 1, stages)
    assert [row for result in outcome.results for row in result.rows] == found
    assert outcome.failure.endswith("" if found else "the process that worked on it was killed")
    assert len(list(tmp_path.iterdir())) == (deaths + 1 if found else 4)


SCRIPT = """
from ead_core.evaluation.isolated_workers import done_apart
import planted
list(done_apart(planted.leaves_its_number, [(0, planted.chunk_of(0, [1]))], 1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("deadly", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(tmp_path, deadly):
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(root), str(Path(__file__).parent)])
    starter = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths})
    children = _awaited(lambda: [int(file.name.split("-")[1]) for file in tmp_path.glob("process-*")], 1)
    assert len(children) == 1
    starter.send_signal(deadly)
    starter.wait()
    assert len(_awaited(lambda: [pid for pid in children if not _runs(pid)], 1)) == 1


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
