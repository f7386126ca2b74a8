"""What a training survives: a killed worker, a lost node, a full disk; real processes and a real disk.

In the order of files, which `make test` keeps, this one comes before the tests that kill drivers: for three minutes Ray
Train keeps the room of a killed one, which an elastic training would wait for.
"""

import contextlib
import os
import re
import signal
import subprocess
import time

import psutil
import pytest
from safetensors.torch import load_file

from ead_core.training.progress import PROGRESS, steps_done

ELASTIC = ("platform.num_workers=3", "platform.min_workers=2")
SHORT, LONG = 350, 700  # steps


def lasting(steps):
    """Settings of a training that stores itself often."""
    return (f"training.steps={steps}", "training.checkpoint_seconds=0.3", "training.evaluate_molecules=0")


@pytest.fixture
def start(command):
    """Starts a training in the background; it ends with the test."""
    started = []

    def start(*overrides):
        asked = command(*overrides)  # Ray Train tries nodes of which it does not yet know that they are gone
        asked["env"]["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "5"
        process = subprocess.Popen(**asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def checkpoints(run):
    return sorted(path.parent.name for path in run.glob(f"checkpoint_2*/{PROGRESS}"))


def await_checkpoint_after(run, known, process):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if [name for name in checkpoints(run) if name not in known and name > max(known, default="")]:
            time.sleep(0.5)  # so that Ray Train has noted it, and training is beyond it
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate(timeout=60)[1])


def fill(path):
    """Write to a file until its disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def workers_of(node):
    """The processes of a node's training workers."""
    raylet = next(info.process for kind, [info] in node.all_processes.items() if kind == "raylet")
    family = psutil.Process(raylet.pid).children(recursive=True)
    return [process for process in family if "RayTrainWorker" in " ".join(process.cmdline())]


def kill_a_worker(node, run, process):
    """Kill one of the two workers of a node; returns when both have come further than the last checkpoint."""
    known, [victim, _] = checkpoints(run), workers_of(node)
    os.kill(victim.pid, signal.SIGKILL)
    await_checkpoint_after(run, known, process)


def assert_undisturbed(process, run, alone, steps):
    """The training ends where one ends that nothing happens to."""
    assert process.wait(timeout=120) == 0, process.stderr.read()
    newest = run / checkpoints(run)[-1]
    assert steps_done(newest) == steps
    found = load_file(newest / PROGRESS)
    for name, tensor in alone(*lasting(steps)).items():
        assert (found[name] - tensor).abs().max() < 1e-6, name


@pytest.mark.ray
def test_a_killed_worker_costs_only_what_no_checkpoint_had(machines, start, alone, folder):
    """Of the three workers asked for, two are started, because there is room for no more."""
    run = folder / "runs" / "tiny"
    process = start(*lasting(SHORT), *ELASTIC)
    await_checkpoint_after(run, [], process)
    kill_a_worker(machines.head_node, run, process)
    assert_undisturbed(process, run, alone, SHORT)


@pytest.mark.slow
@pytest.mark.ray
def test_a_lost_node_and_a_killed_worker_cost_only_what_no_checkpoint_had(machines, extra, start, alone, folder):
    run = folder / "runs" / "tiny"
    process = start(*lasting(LONG), *ELASTIC)
    await_checkpoint_after(run, [], process)
    assert len(workers_of(extra)) == 1

    known = checkpoints(run)
    machines.remove_node(extra, allow_graceful=False)
    await_checkpoint_after(run, known, process)  # by the two that there is room for
    assert process.poll() is None

    kill_a_worker(machines.head_node, run, process)
    assert_undisturbed(process, run, alone, LONG)


@pytest.mark.slow
@pytest.mark.ray
def test_a_full_disk_is_told_and_the_last_checkpoint_is_continued(start, train, folder, tiny_disk):
    """The storage has room for a few checkpoints of which two are kept, then somebody fills it."""
    storage = f"platform.storage_path={tiny_disk}"
    process = start(*lasting(LONG), storage)
    run = tiny_disk / "tiny"
    await_checkpoint_after(run, [], process)
    before = steps_done(run / checkpoints(run)[0])
    filler = tiny_disk / "filler"
    fill(filler)
    _, told = process.communicate(timeout=120)
    last = told.strip().splitlines()[-1]
    assert process.returncode == 2, told
    assert last.startswith(f"train: cannot write a checkpoint to {run} (")
    assert "No space left" in last
    filler.unlink()
    done = train(*lasting(LONG), storage)
    assert done.returncode == 0, done.stderr
    (resumed,) = re.findall(r"resuming at step (\d+) of 700", done.stderr)
    assert 0 < before <= int(resumed)
    assert steps_done(run / checkpoints(run)[-1]) == 700
