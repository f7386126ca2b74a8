"""Campaigns whose drivers are processes that can be killed in no time, and the account that must hold afterwards.

A driver is a fork of the test's process. It runs what `platform/jobs/generate.py` runs, but for the actors: shards come
from a store of shards that are made already, so that most of a driver's life is reading, comparing and writing files.
"""

import hashlib
import importlib.util
import json
import multiprocessing
import os
import random
import re
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ead_platform.generation import making, report
from ead_platform.generation.making import ShardMaker
from ead_platform.generation.places import place_of
from ead_platform.generation.shard_files import decode_shard
from ead_platform.generation.shard_index import PARQUET, DamagedIndexError, decode_index
from ead_platform.generation.shard_recovery import rebuild_index
from ead_platform.generation.shards import ShardFolder

from ead_core.data.shard_folders import INDEX
from ead_core.errors import report_user_errors

SCRIPT = Path(__file__).parents[2] / "platform" / "jobs" / "generate.py"
REFUSED, KINDS = "not valid", 101
MADE = "made now: "  # begins a line of a driver's output


def judged(molecules, acceptance):
    """Every fifth molecule is refused for itself, and most of the others are of the kind of the one beside it."""
    ids = molecules.properties["id"]
    keys = np.array([f"KIND-{(number // 2) ** 2 % KINDS}" for number in ids.tolist()])
    molecules = replace(molecules, properties={**molecules.properties, "inchikey": keys})
    return molecules.select(ids % 5 != 0), Counter({REFUSED: int((ids % 5 == 0).sum())})


def generate_script():
    """The module of `platform/jobs/generate.py`."""
    specification = importlib.util.spec_from_file_location("generate_script", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class PoolOf:
    """As `ActorPool`, in this process and with shards that are kept; they are finished in any order."""

    def __init__(self, kept, seed):
        self._kept, self._random = kept, random.Random(seed)

    def __call__(self, plan, actors, content, finished, say, check):
        self._plan, self._content, self._finished, self._check = plan, content, finished, check
        return self

    def work(self, tasks):
        for task in self._random.sample(tasks, len(tasks)):
            self._check()
            if task.sample:
                print(f"{MADE}{task.shard.name}")
            self._finished(task, self._made(task))

    def _made(self, task):
        parquet = None if task.sample else self._content(task.shard)
        key = replace(task, reason=""), parquet
        if key not in self._kept:
            self._kept[key] = ShardMaker(self._plan).make(task, parquet)
        return self._kept[key]


class Campaign:
    """What is asked, its shards as far as they are made, and its undisturbed files.

    Args:
        plan: a `GenerationPlan`.
        folder: a new one, for the undisturbed run.
        sdf: whether there is SDF, too.
    """

    def __init__(self, plan, folder, sdf=True):
        self.plan, self.sdf, self._kept, self._script = plan, sdf, {}, generate_script()
        self.fill(folder)
        self.whole, self._ledger = shard_files(folder), ledger_of(folder)

    def fill(self, out, seed=0):
        """What the command does, in this process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(making, "accepted", judged)
            patch.setattr(report, "ActorPool", PoolOf(self._kept, seed))
            folder = ShardFolder(out, self.plan.question(), self.plan.asked)
            self._script._fill(folder, self.plan, self.sdf, 2)

    def start(self, out, seed=0, told=os.devnull, before=lambda: None):
        """A driver in a process of its own, which writes what it says to a file; `before` is called in it."""

        def drive():
            with open(told, "w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
                before()
                with report_user_errors("generate"):
                    self.fill(out, seed)

        Path(told).write_text("")  # even if it is killed before it begins
        process = multiprocessing.get_context("fork").Process(target=drive)
        process.start()
        return process

    def assert_whole(self, out):
        """Nothing is lost, repeated, changed or left behind, and the ledger adds up."""
        files = shard_files(out)
        assert sorted(files) == sorted(self.whole)
        assert files == self.whole
        index = decode_index((out / INDEX).read_bytes(), str(out))
        assert {name: entry.sha256 for name, entry in index.entries.items()} == {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items()
        }
        ids = [number for name in sorted(files) if name.endswith(PARQUET) for number in ids_of(files[name])]
        if ledger := index.ledger:
            assert ledger_of(out) == self._ledger
            assert len(set(ids)) == len(ids) == ledger.delivered
            assert ledger.attempts == ledger.delivered + sum(ledger.refused.values())
        else:
            assert ids == list(range(self.plan.num))
        assert not list(out.glob(".writing-*"))


def shard_files(folder):
    """Contents by name."""
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def ledger_of(folder):
    """As the index stores it, but for times, which differ between runs."""
    ledger = json.loads((folder / INDEX).read_text()).get("ledger", {})
    return {key: value for key, value in ledger.items() if key != "seconds"}


def ids_of(parquet):
    return decode_shard(parquet).properties["id"].tolist()


def state_of(folder):
    """Names of shards that are whole, and of those that are there or listed without being whole."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob(f"shard-*{PARQUET}")}
    try:
        index = decode_index((folder / INDEX).read_bytes(), str(folder))
    except (FileNotFoundError, DamagedIndexError):
        index = rebuild_index(place_of(folder))
    listed = {entry.name: entry.sha256 for entry in index.molecules} if index else {}
    whole = {name for name, digest in files.items() if listed.get(name) == digest}
    return whole, (files.keys() | listed) - whole


def assert_told(state, told, made=re.compile(f"{MADE}(.*)")):
    """A driver made nothing again that was whole, and said why it made again what was not; `made` finds its shards."""
    whole, torn = state
    lines = told.splitlines()
    names = {found[1] + PARQUET for line in lines if (found := made.match(line))}
    assert not names & whole
    for name in names & torn:
        assert any(line.startswith(f"{name} ") and line.endswith("and is made again") for line in lines), lines
