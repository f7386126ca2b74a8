"""The folder of shards without Ray: what is left to do, what is refused, and what an interruption leaves."""

import errno
import fcntl
import json
from pathlib import Path

import numpy as np
import pytest
from ead_platform.generation.shard_index import PARQUET, SDF, own_entry
from ead_platform.generation.shard_numbers import Shard, shards_of
from ead_platform.generation.shards import ShardFolder

from ead_core.data.parquet import write_parquet
from ead_core.data.shard_folders import INDEX
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError, OutputError

QUESTION = {
    "checkpoint": "tiny",
    "fingerprint": "ab12",
    "seed": 0,
    "shard_size": 4,
    "sizes": [5, 6],
    "sampler.async_ratio": 0.2,
}


def content(shard, ending=PARQUET):
    """Stands for the file of a shard: a function of its molecules."""
    return f"{shard.first} {shard.rows} {ending}".encode()


def fill(folder, tasks):
    for task in tasks:
        files = {PARQUET: content(task.shard)} if task.sample else {}
        if task.sdf:
            files[SDF] = content(task.shard, SDF)
        folder.add(task.shard, files, 1.5, 40.0 if task.sample else None)


def finished(path, num, sdf=False):
    """A folder with `num` molecules, as a new run finds it."""
    folder = ShardFolder(path, QUESTION)
    with folder.opened():
        fill(folder, folder.left(shards_of(num, 4), sdf))
    return ShardFolder(path, QUESTION)


def left(folder, num, sdf=False):
    """(number, rows, sample, sdf, reason) of each task."""
    tasks = folder.left(shards_of(num, 4), sdf)
    return [(task.shard.number, task.shard.rows, task.sample, task.sdf, task.reason) for task in tasks]


def test_shards_cover_all_ids_once():
    assert shards_of(10, 4) == [Shard(0, 0, 4), Shard(1, 4, 4), Shard(2, 8, 2)]
    assert [shard.name for shard in shards_of(8, 4)] == ["shard-00000", "shard-00001"]
    with pytest.raises(ConfigError, match="100001 shards; at most 100000"):
        shards_of(100_001, 1)


def test_a_finished_folder_has_nothing_left_and_says_all_in_its_index(tmp_path):
    folder = finished(tmp_path / "a" / "b", 10, sdf=True)
    assert left(folder, 10) == []
    index = json.loads((folder.place.folder / INDEX).read_text())
    assert index["version"] == 3
    assert index["question"] == QUESTION
    assert index["num"] == 10
    assert [(row["name"], row["rows"]) for row in index["shards"]] == [
        ("shard-00000.parquet", 4),
        ("shard-00001.parquet", 4),
        ("shard-00002.parquet", 2),
    ]
    assert [row["name"] for row in index["sdf"]] == [f"shard-0000{k}.sdf.gz" for k in range(3)]
    assert {len(row["sha256"]) for row in index["shards"] + index["sdf"]} == {64}
    assert {row["nfe"] for row in index["shards"]} == {40}
    assert folder.rows == 10


def test_the_index_is_sorted_however_shards_come_in(tmp_path):
    folder = ShardFolder(tmp_path, QUESTION)
    with folder.opened():
        fill(folder, reversed(folder.left(shards_of(12, 4), False)))
    assert [entry.name for entry in ShardFolder(tmp_path, QUESTION).molecules] == [
        f"shard-0000{k}.parquet" for k in range(3)
    ]


def test_missing_and_damaged_files_are_made_again_and_the_rest_is_kept(tmp_path):
    folder = finished(tmp_path, 16)
    (tmp_path / "shard-00001.parquet").unlink()
    file = tmp_path / "shard-00002.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    assert left(folder, 16) == [
        (1, 4, True, False, "shard-00001.parquet is missing"),
        (2, 4, True, False, "shard-00002.parquet is damaged"),
    ]


def of_settings(shard, path, question):
    """Writes the file of a shard as a run with these settings does."""
    atoms = MoleculeSet.from_lists([np.array([8, 1, 1])] * shard.rows, [np.zeros((3, 3))] * shard.rows)
    write_parquet(atoms, path, own_entry(question, shard.name + PARQUET, shard.rows, 40.0, {}))


def test_a_file_that_the_index_does_not_list_is_no_finished_shard(tmp_path):
    """A run that is killed between the shard and the index leaves this."""
    folder = finished(tmp_path, 8)
    of_settings(Shard(2, 8, 4), tmp_path / "shard-00002.parquet", QUESTION)
    assert left(folder, 12) == [(2, 4, True, False, "shard-00002.parquet is not listed in index.json")]
    (tmp_path / "shard-00002.parquet").write_bytes(b"")  # a machine that loses its power may leave this
    assert left(folder, 12) == [(2, 4, True, False, "shard-00002.parquet is damaged")]


def test_a_shard_of_somebody_else_is_not_replaced(tmp_path):
    folder = finished(tmp_path, 8)
    of_settings(Shard(2, 8, 4), tmp_path / "shard-00002.parquet", {**QUESTION, "seed": 7})
    before = (tmp_path / "shard-00002.parquet").read_bytes()
    assert left(folder, 8) == []
    with pytest.raises(OutputError, match=r"holds a shard-00002\.parquet of other settings, .*; move it away, or"):
        left(folder, 12)
    assert (tmp_path / "shard-00002.parquet").read_bytes() == before


def test_what_is_changed_while_a_run_is_at_work_is_not_used(tmp_path):
    folder = finished(tmp_path, 8)
    [shard, other] = shards_of(8, 4)
    (tmp_path / "shard-00000.parquet").write_bytes(content(other))
    with pytest.raises(OutputError, match=r"shard-00000\.parquet has been changed while a run was at work\.$"):
        folder.content(shard)
    (tmp_path / "shard-00000.parquet").unlink()
    with pytest.raises(OutputError, match=r"cannot read .*shard-00000\.parquet: No such file or directory\.$"):
        folder.content(shard)


def test_a_file_that_cannot_be_read_is_made_again(tmp_path, monkeypatch):
    folder = finished(tmp_path, 8)
    monkeypatch.setattr(folder.place, "sha256", lambda name: broken(errno.EIO, "Input/output error"))
    reasons = [reason for *_, reason in left(folder, 8)]
    assert reasons == [f"shard-0000{k}.parquet cannot be read (Input/output error)" for k in range(2)]


def broken(number, text):
    raise OSError(number, text)


def test_more_molecules_redo_only_the_last_partial_shard(tmp_path):
    folder = finished(tmp_path, 10)
    assert left(folder, 14) == [
        (2, 4, True, False, "shard-00002.parquet has 2 of 4 molecules"),
        (3, 2, True, False, ""),
    ]
    assert json.loads((tmp_path / INDEX).read_text())["num"] == 14


def test_fewer_molecules_than_there_are_change_nothing(tmp_path):
    folder = finished(tmp_path, 14)
    assert left(folder, 6) == []
    assert folder.num == folder.rows == 14
    (tmp_path / "shard-00001.parquet").unlink()
    assert left(folder, 6) == [(1, 4, True, False, "shard-00001.parquet is missing")]  # whole, not the 2 asked for


def test_sdf_is_added_later_without_sampling_and_then_kept_up(tmp_path):
    folder = finished(tmp_path, 6)
    with folder.opened():
        tasks = folder.left(shards_of(6, 4), sdf=True)
        assert [(task.sample, task.sdf) for task in tasks] == [(False, True), (False, True)]
        assert folder.content(tasks[0].shard) == content(tasks[0].shard)
        fill(folder, tasks)
    folder = ShardFolder(tmp_path, QUESTION)
    assert [entry.nfe for entry in folder.molecules] == [40, 40]
    (tmp_path / "shard-00000.sdf.gz").write_bytes(b"x")
    assert left(folder, 8) == [
        (0, 4, False, True, "shard-00000.sdf.gz is damaged"),
        (1, 4, True, True, "shard-00001.parquet has 2 of 4 molecules"),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1}, "holds molecules with seed=0, not 1;"),
        ({"sizes": None}, "holds molecules with sizes=[5, 6], not None;"),
        ({"sampler.async_ratio": 0.4, "seed": 2}, "holds molecules with seed=0, not 2;"),
        ({"sampler.async_ratio": 0.4}, "holds molecules with sampler.async_ratio=0.2, not 0.4;"),
        ({"fingerprint": "cd"}, "holds molecules with checkpoint tiny (ab12), not tiny (cd);"),
    ],
)
def test_another_question_is_refused_with_its_first_difference(tmp_path, change, sentence):
    finished(tmp_path, 4)
    with pytest.raises(OutputError) as error:
        ShardFolder(tmp_path, {**QUESTION, **change})
    assert sentence in str(error.value)


def test_a_renamed_checkpoint_is_the_same_question(tmp_path):
    finished(tmp_path, 4)
    assert left(ShardFolder(tmp_path, {**QUESTION, "checkpoint": "renamed"}), 4) == []


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("precious.txt", "x", "is not empty and holds no index.json of shards"),
        ("shard-00000.parquet", "x", "is not empty and holds no index.json of shards"),
        (INDEX, "not JSON", "is no index of shards"),
        (INDEX, '["of something else"]', "is no index of shards"),
        (INDEX, '{"version": 1, "question": {}, "shards": [], "sdf": []}', "of version 1; this program reads 3"),
        (INDEX, '{"version": 2, "question": {}, "shards": [], "sdf": []}', "of version 2; this program reads 3"),
    ],
)
def test_other_peoples_files_are_refused_and_untouched(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(OutputError, match=sentence):
        ShardFolder(tmp_path, QUESTION)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is not a folder that you may write to"):
        ShardFolder(tmp_path / "file" / "out", QUESTION)


def test_a_full_disk_is_one_sentence_and_keeps_what_is_finished(tmp_path, monkeypatch):
    folder = finished(tmp_path, 4)

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot write .*shard-00001\.parquet: No space left on device\."):
        folder.add(Shard(1, 4, 4), {PARQUET: b"x"}, 1.0, 1.0)
    monkeypatch.undo()
    assert left(ShardFolder(tmp_path, QUESTION), 4) == []


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / ".writing-abc.parquet").write_text("half")  # killed before its first index
    folder = finished(tmp_path, 4)
    assert sorted(path.name for path in folder.place.folder.iterdir()) == [".lock", INDEX, "shard-00000.parquet"]


def test_a_second_run_at_the_same_time_is_refused(tmp_path):
    first, second = ShardFolder(tmp_path, QUESTION), ShardFolder(tmp_path, QUESTION)
    with first.opened(), pytest.raises(OutputError, match="another run is writing to"), second.opened():
        pass
    with second.opened():
        assert second.rows == 0


def test_a_run_sees_what_another_has_finished_since_it_looked(tmp_path):
    late = ShardFolder(tmp_path, QUESTION)
    finished(tmp_path, 8)
    with late.opened():
        assert late.left(shards_of(8, 4), False) == []


def test_a_file_system_without_locks_works_and_nothing_of_another_run_is_cleared_away(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    (tmp_path / ".writing-other.parquet").write_text("of a run at work")
    assert finished(tmp_path, 8).rows == 8
    assert (tmp_path / ".writing-other.parquet").exists()
