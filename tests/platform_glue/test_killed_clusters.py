"""Campaigns on a cluster of which something is killed again and again: a driver, an actor, or a node's raylet."""

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import time

import psutil
import pytest
from ead_platform.generation.plan import GenerationPlan

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig

from .campaigns import SCRIPT, Campaign, assert_told, state_of

pytestmark = pytest.mark.ray

NUM, SIZE, SEED = 240, 4, 5
SAMPLER = {"policy": "synchronous", "steps": 8}
FINISHED = re.compile(r"(shard-\d{5})  \d+ molecules in ")
PATIENCE = 120  # seconds until something must have happened
DEADLY = {"driver": 3, "actor": 4, "raylet": 2}  # with weights


@pytest.fixture(scope="module")
def campaign(tiny_checkpoint, tmp_path_factory):
    plan = GenerationPlan(load_checkpoint(tiny_checkpoint), NUM, SIZE, SEED, (4, 6), SamplerConfig(**SAMPLER), 1, 0)
    return Campaign(plan, tmp_path_factory.mktemp("whole"), sdf=False)


class Site:
    """A cluster of two nodes and a campaign at work on it.

    Args:
        machines: the cluster, of which the first node stays.
        command: builds the command line and environment of a driver for a folder.
        told: a file for what the driver says.
        chance: chooses actors.
    """

    def __init__(self, machines, command, told, chance):
        self._machines, self._command, self._told, self._chance = machines, command, told, chance
        self._node = self._driver = None

    def start(self, out):
        """A driver, with a second node to work on."""
        if self._node is None:
            self._node = self._another()
        self.out, self._before = out, state_of(out)
        with self._told.open("w") as file:
            self._driver = subprocess.Popen(**self._command(out), stdout=file, stderr=subprocess.STDOUT)

    def await_shards(self, count):
        """Wait until so many more are finished; whether the driver is still at work."""
        deadline, wanted = time.monotonic() + PATIENCE, len(state_of(self.out)[0]) + count
        while self._driver.poll() is None and len(list(self.out.glob("shard-*"))) < wanted:
            assert time.monotonic() < deadline, self._told.read_text()
            time.sleep(0.02)
        return self._driver.poll() is None

    def ended(self):
        """How the driver ended, which has told what it found."""
        code = self._driver.wait(PATIENCE)
        assert_told(self._before, self._told.read_text(), FINISHED)
        return code

    def kill(self, kind):
        """Kill one of a kind; whether there was one."""
        return getattr(self, f"_kill_{kind}")()

    def _kill_driver(self):
        """And start another."""
        self._driver.kill()
        killed = self.ended() == -signal.SIGKILL
        self.start(self.out)
        return killed

    def _kill_actor(self):
        """One of those that are at work."""
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            self._chance.choice(makers()).kill()
            return True
        return False

    def _kill_raylet(self):
        """Of the second node, which comes back."""
        raylet = next(info.process for kind, [info] in self._node.all_processes.items() if kind == "raylet")
        os.kill(raylet.pid, signal.SIGKILL)
        self.close()
        self._node = self._another()
        return True

    def _another(self, attempts=4):
        """A second node; where the machine is busy, one may not start in the half-minute that Ray gives it."""
        try:
            return self._machines.add_node(num_cpus=1, object_store_memory=100_000_000)
        except Exception:  # Ray has no narrower one
            if attempts == 1:
                raise
            return self._another(attempts - 1)

    def close(self):
        """Take the second node away."""
        if self._node:
            self._machines.remove_node(self._node, allow_graceful=False)
        self._node = None


def raylets():
    return [process for process in psutil.Process().children(recursive=True) if process.name() == "raylet"]


def makers():
    """The actors that are at work."""
    return list(filter(_is_maker, psutil.Process().children(recursive=True)))


def _is_maker(process):
    try:
        return process.cmdline()[0].startswith("ray::ShardMaker")
    except (psutil.Error, IndexError):
        return False


@pytest.fixture
def command(python, cluster, tiny_checkpoint):
    """Builds the command line and environment of a driver for a folder."""
    options = ["--num", NUM, "--shard-size", SIZE, "--seed", SEED, "--sizes", "4,6"]
    options += [f"sampler.{key}={value}" for key, value in SAMPLER.items()]

    def command(out):
        arguments = [python, SCRIPT, "--checkpoint", tiny_checkpoint, "--out", out, *options]
        return {"args": list(map(str, arguments)), "env": {**os.environ, "RAY_ADDRESS": cluster}}

    return command


@pytest.fixture
def site(machines, command, tmp_path):
    site = Site(machines, command, tmp_path / "told", random.Random(1))
    yield site
    site.close()


@pytest.mark.parametrize("kills", [["actor", "raylet", "driver"], pytest.param(100, marks=pytest.mark.slow)])
def test_a_cluster_of_which_anything_is_killed_at_random(site, campaign, tmp_path, kills):
    chance = random.Random(0)
    left = kills if isinstance(kills, list) else chance.choices(list(DEADLY), DEADLY.values(), k=kills)
    for number in itertools.count():
        site.start(tmp_path / f"out-{number}")
        while left and site.await_shards(chance.randrange(4)):
            time.sleep(chance.uniform(0, 0.3))
            left = left[site.kill(left[0]) :]
        assert site.ended() == 0
        campaign.assert_whole(site.out)
        if not left:
            break


@pytest.mark.slow
def test_a_laptop_whose_raylet_is_killed(command, campaign, tmp_path):
    """It takes Ray, and with it the driver, down; the same command goes on with a new one."""
    out, told = tmp_path / "out", tmp_path / "told"
    call = command(out)
    del call["env"]["RAY_ADDRESS"]
    known = set(raylets())
    with told.open("w") as file:
        driver = subprocess.Popen(**call, stdout=file, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE
    while len(state_of(out)[0]) < 3:
        assert time.monotonic() < deadline, told.read_text()
        time.sleep(0.05)
    [raylet] = set(raylets()) - known
    for process in (raylet, *makers()):  # without its actors, which might finish all before Ray notices
        process.kill()
    assert driver.wait(PATIENCE) != 0
    before = state_of(out)
    done = subprocess.run(**call, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert_told(before, done.stdout, FINISHED)
    campaign.assert_whole(out)
