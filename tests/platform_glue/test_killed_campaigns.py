"""Campaigns whose driver is killed, at random and in every step of writing, end as if nothing had happened to them.

Actors, nodes and a real cluster are in test_killed_clusters.py.
"""

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_index import PARQUET
from ead_platform.generation.shards import ShardFolder

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.shard_folders import INDEX
from ead_core.errors import OutputError
from ead_core.evaluation.criteria import Acceptance
from ead_core.sampling.order import Order

from ..in_this_process import in_this_process
from .campaigns import Campaign, assert_told, state_of

LIFE = 1 / 3  # of the time that an undisturbed driver takes, the longest life of one that is killed


@pytest.fixture(scope="module", autouse=True)
def _in_this_process():
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def campaign(tiny_checkpoint, tmp_path_factory):
    """Of 30 molecules of different kinds, for which some fifteen shards of four attempts are needed."""
    return build(tiny_checkpoint, 30, tmp_path_factory.mktemp("whole"))


def build(checkpoint, until, folder):
    order = Order(Acceptance.parse("valid & unique"), until, 400)
    sampler = SamplerConfig(policy="synchronous", steps=4)
    return Campaign(GenerationPlan(load_checkpoint(checkpoint), 400, 4, 1, (4,), sampler, 1, 0, order=order), folder)


def flipped(folder, chance):
    """A shard of which a bit is not what it was."""
    if files := sorted(folder.glob(f"shard-*{PARQUET}")):
        path = chance.choice(files)
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1
        path.write_bytes(content)


def cut(folder, chance):
    """An index that ends too early."""
    if (index := folder / INDEX).exists():
        os.truncate(index, chance.randrange(index.stat().st_size))


def lost(folder, chance):
    """A file that is not there any more."""
    if files := sorted(path for path in folder.glob("*") if path.name[0] != "."):
        chance.choice(files).unlink()


def foreign(folder, chance):
    """A file that somebody else puts there."""
    if (folder / INDEX).exists():
        (folder / "notes.txt").write_text("of somebody else")


MISHAPS = (flipped, cut, lost, foreign)


@pytest.mark.parametrize("kills", [15, pytest.param(100, marks=pytest.mark.slow)])
def test_drivers_that_are_killed_at_random(campaign, tmp_path, kills):
    """After every second death something happens to the folder, too."""
    chance, told = random.Random(kills), tmp_path / "told"
    began = time.monotonic()
    assert ended(campaign.start(tmp_path / "undisturbed")) == 0
    longest, deaths = LIFE * (time.monotonic() - began), 0
    for number in itertools.count():
        out = tmp_path / f"out-{number}"
        code = -signal.SIGKILL
        while code:
            before = state_of(out)
            process = campaign.start(out, chance.random(), told)
            if deaths < kills:
                process.join(chance.uniform(0, longest))
                process.kill()
            code = ended(process)
            assert code in (0, -signal.SIGKILL), told.read_text()
            assert_told(before, told.read_text())
            deaths += code != 0
            if code and chance.random() < 0.5:
                chance.choice(MISHAPS)(out, chance)
        campaign.assert_whole(out)
        if deaths == kills:
            break


def ended(process):
    process.join()
    return process.exitcode


def dies_at(step, out):
    """Have this process be killed at a step of writing: before, within or after a content, or at its new name."""
    steps, write, replace, unlink = itertools.count(), Path.write_bytes, os.replace, Path.unlink

    def tick(path):
        if Path(path).parent == out and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def written(path, content):
        tick(path)
        write(path, content[: len(content) // 2])
        tick(path)
        return write(path, content)

    def replaced(source, target):
        tick(target)
        replace(source, target)
        tick(target)

    def unlinked(path, **options):
        tick(path)
        unlink(path, **options)

    Path.write_bytes, os.replace, Path.unlink = written, replaced, unlinked


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lost", [False, True])
def test_drivers_that_are_killed_in_a_step_of_writing(tiny_checkpoint, tmp_path, capsys, every, lost):
    """They may lose their index, too."""
    campaign = build(tiny_checkpoint, 4, tmp_path / "whole")
    for step in itertools.count(step=every):
        out = tmp_path / f"step-{step}"
        code = ended(campaign.start(out, before=lambda: dies_at(step, out)))  # noqa: B023
        assert len(state_of(out)[1]) <= 1  # what was being written
        if lost and any(out.glob(f"shard-*{PARQUET}")):
            (out / INDEX).unlink(missing_ok=True)
        before = state_of(out)
        capsys.readouterr()
        campaign.fill(out)
        assert_told(before, capsys.readouterr().out)
        campaign.assert_whole(out)
        if code == 0:
            break
    assert step > 40


def test_two_drivers_at_once(campaign, tmp_path):
    told = tmp_path / "first", tmp_path / "second"
    both = [campaign.start(tmp_path / "out", seed, file) for seed, file in enumerate(told)]
    codes = [ended(each) for each in both]
    assert 0 in codes
    for code, file in zip(codes, told, strict=True):
        assert (code != 0) == ("another run is writing to" in file.read_text())
    campaign.assert_whole(tmp_path / "out")


@pytest.mark.parametrize("room", [1, 7, 16, 30])
def test_a_full_disk(campaign, tiny_disk, room, capsys):
    """Of so many pages of 4 kB."""
    out, filler = tiny_disk / "out", tiny_disk / "filler"
    filler.write_bytes(bytes(4096 * (os.statvfs(tiny_disk).f_bavail - room)))
    with pytest.raises(
        OutputError, match=r"No space left on device\. \d+ of \d+ attempts are finished in .*/out\. The"
    ):
        campaign.fill(out)
    before = state_of(out)
    assert len(before[1]) <= 1  # for which the index had no room
    filler.unlink()
    capsys.readouterr()
    campaign.fill(out)
    assert_told(before, capsys.readouterr().out)
    campaign.assert_whole(out)


def test_a_shard_that_somebody_takes_away_during_a_run(campaign, tmp_path, monkeypatch):
    """It is missed when it is compared with the others, and made again."""
    out, add = tmp_path / "out", ShardFolder.add

    def taken(folder, shard, *about):
        add(folder, shard, *about)
        (out / "shard-00001.parquet").unlink(missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "add", taken)
        with pytest.raises(OutputError, match=r"shard-00001\.parquet: No such file or directory\. .* The same"):
            campaign.fill(out)
    campaign.fill(out)
    campaign.assert_whole(out)
