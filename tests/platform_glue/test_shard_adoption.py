"""An index that is behind its shards: nothing is lost or made twice, and a shard costs the same at any number."""

import json
import tracemalloc

import numpy as np
import pytest
from ead_platform.generation import shard_adoption
from ead_platform.generation.shard_adoption import is_worth_writing
from ead_platform.generation.shard_files import encode_shard
from ead_platform.generation.shard_index import PARQUET, SDF, SURPLUS, own_entry
from ead_platform.generation.shard_numbers import Shard, shards_of
from ead_platform.generation.shards import ShardFolder

from ead_core.data.shard_folders import INDEX, MOST_SHARDS
from ead_core.data.store import MoleculeSet
from ead_core.errors import OutputError

SIZE = 4
QUESTION = {"checkpoint": "tiny", "fingerprint": "ab12", "seed": 0, "shard_size": SIZE, "accept": "valid & unique"}


def molecules_of(shard):
    generator = np.random.default_rng(shard.number)
    positions = [generator.normal(size=(3, 3)) for _ in range(shard.rows)]
    return MoleculeSet.from_lists([np.array([8, 1, 1])] * shard.rows, positions)


def parquet_of(shard, question=QUESTION):
    return encode_shard(molecules_of(shard), own_entry(question, shard.name + PARQUET, shard.rows, 40.0, {}, {}))


def add(folder, shard):
    folder.add(shard, {PARQUET: parquet_of(shard), SDF: b"sdf"}, 1.5, 40.0, {}, {})


@pytest.fixture
def behind(tmp_path):
    """A folder of three shards, whose index lists the first one only, as if a run was killed before it was written."""
    folder = ShardFolder(tmp_path, QUESTION)
    with folder.opened():
        tasks = folder.left(shards_of(12, SIZE), True)
        add(folder, tasks[0].shard)
        early = (tmp_path / INDEX).read_bytes()
        for task in tasks[1:]:
            add(folder, task.shard)
    (tmp_path / INDEX).write_bytes(early)
    return tmp_path


def left(path):
    """(number, sample, reason) of each task."""
    return [(task.shard.number, task.sample, task.reason) for task in ShardFolder(path, QUESTION).left(SHARDS, False)]


SHARDS = shards_of(12, SIZE)


def test_whole_shards_that_the_index_does_not_list_are_taken_in(behind):
    folder = ShardFolder(behind, QUESTION)
    assert (folder.rows, folder.ledger.delivered, folder.rebuilt) == (12, 12, "")
    assert left(behind) == [(1, False, ""), (2, False, "")], "SDF of them is made again"
    assert [entry["name"] for entry in json.loads((behind / INDEX).read_text())["shards"]] == [
        f"shard-0000{number}.parquet" for number in range(3)
    ]


def test_a_damaged_shard_is_not(behind):
    content = (behind / "shard-00001.parquet").read_bytes()
    (behind / "shard-00001.parquet").write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert [(number, sample) for number, sample, _ in left(behind)] == [(1, True), (2, False)]
    assert ShardFolder(behind, QUESTION).rows == 8


def test_a_shard_of_another_question_is_neither_taken_nor_replaced(behind):
    (behind / "shard-00002.parquet").write_bytes(parquet_of(SHARDS[2], {**QUESTION, "seed": 1}))
    assert ShardFolder(behind, QUESTION).rows == 8
    with pytest.raises(OutputError, match=r"holds a shard-00002.parquet of other settings.*; move it away"):
        left(behind)


def test_a_shard_that_lost_molecules_after_its_index_is_taken_as_it_is_and_its_sdf_made_again(behind):
    folder = ShardFolder(behind, QUESTION)
    early = (behind / INDEX).read_bytes()
    with folder.opened():
        folder.refuse(SHARDS[0], ["", "known", "", ""])
    (behind / INDEX).write_bytes(early)
    folder = ShardFolder(behind, QUESTION)
    tasks = folder.left(SHARDS, False)
    assert [(task.shard.number, task.sample) for task in tasks] == [(0, False), (1, False), (2, False)]
    assert (folder.delivered(SHARDS[0]), dict(folder.ledger.refused)) == (3, {"known": 1})


def test_a_shard_that_was_cut_after_its_index_is_made_again(behind):
    folder = ShardFolder(behind, QUESTION)
    early = (behind / INDEX).read_bytes()
    with folder.opened():
        folder.refuse(SHARDS[0], ["", "", "", SURPLUS])
    (behind / INDEX).write_bytes(early)
    assert left(behind)[0] == (0, True, "shard-00000.parquet is damaged")


class Memory:
    """A place that keeps nothing but the index, and counts its bytes."""

    def __init__(self):
        self.written_bytes, self.index = 0, b""

    def write(self, name, content):
        if name == INDEX:
            self.written_bytes, self.index = self.written_bytes + len(content), content

    def names(self):
        return []

    check_writable = lambda self: None  # noqa: E731
    remove = lambda self, name: None  # noqa: E731
    refuse_links = lambda self, names: list(names)  # noqa: E731


def executed(num, size):
    """A campaign whose executor makes nothing: its place, and the peak of memory while it is planned and run."""
    place = Memory()
    tracemalloc.start()
    try:
        folder = ShardFolder(place, {**QUESTION, "shard_size": size})
        for task in folder.left(shards_of(num, size), False):
            folder.add(task.shard, {PARQUET: b""}, 1.5, 40.0, {}, {"not valid": 2})
        folder._write_rest()
        return place, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memory_of_the_driver_does_not_grow_with_the_rows_that_are_planned():
    few, many, most = (executed(num, num // 100)[1] for num in (10**4, 10**6, 10**9))
    assert many < 1.1 * few
    assert most < 1.1 * few
    assert most / 100 < 8192, "bytes per shard"


def test_what_is_written_for_a_shard_does_not_grow_with_their_number(monkeypatch):
    monkeypatch.setattr(shard_adoption, "LISTED", 10)
    written = {count: executed(count, 1)[0].written_bytes / count for count in (100, 400)}
    assert written[400] < 1.5 * written[100], "four times as many if the index was written for each"


def test_a_hundred_thousand_shards_are_planned_and_no_more():
    tracemalloc.start()
    try:
        assert len(shards_of(10**6, 10)) == MOST_SHARDS
        assert tracemalloc.get_traced_memory()[1] / MOST_SHARDS < 300, "bytes per shard"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("listed", "new", "due"), [(1, 1, True), (100, 1, True), (101, 1, False), (10_000, 100, True)])
def test_short_indices_are_written_for_every_shard(listed, new, due):
    assert is_worth_writing(listed, new) is due
    assert Shard(3, 12, 4).name == "shard-00003"
