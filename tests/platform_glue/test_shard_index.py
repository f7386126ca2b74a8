"""The index of a generation: damage is noticed and mended from the shards, and it never leads out of the folder."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from ead_platform.generation.places import LOCK, place_of
from ead_platform.generation.shard_index import PARQUET, SDF, DamagedIndexError, Entry, Index, decode_index, own_entry
from ead_platform.generation.shard_numbers import shards_of
from ead_platform.generation.shard_recovery import rebuild_index
from ead_platform.generation.shards import ShardFolder

from ead_core.data.parquet import write_parquet
from ead_core.data.shard_folders import INDEX
from ead_core.data.store import MoleculeSet
from ead_core.errors import OutputError

SIZE = 4
QUESTION = {"checkpoint": "tiny", "fingerprint": "ab12", "seed": 0, "shard_size": SIZE, "sampler.async_ratio": 0.2}


def parquet_of(shard, path, question=QUESTION):
    """A finished shard as it is written, of molecules that depend on its number."""
    generator = np.random.default_rng(shard.number)
    positions = [generator.normal(size=(3, 3)) for _ in range(shard.rows)]
    molecules = MoleculeSet.from_lists([np.array([8, 1, 1])] * shard.rows, positions)
    faults = {"a coordinate is not a finite number": 1} if shard.number == 1 else {}
    write_parquet(molecules, path, own_entry(question, shard.name + PARQUET, shard.rows, 40.0, faults))
    return path.read_bytes()


def fill(folder, tasks, scratch):
    for task in tasks:
        parquet = parquet_of(task.shard, scratch / "made.parquet", folder._question)
        files = {PARQUET: parquet} if task.sample else {}
        if task.sdf:
            files[SDF] = f"sdf of {task.shard.name}".encode()
        faults = {"a coordinate is not a finite number": 1} if task.shard.number == 1 else {}
        folder.add(task.shard, files, 1.5, 40.0 if task.sample else None, faults if task.sample else None)


@pytest.fixture
def finish(tmp_path):
    """Makes all that is left in a folder, as a run does; gives the tasks."""

    def finish(path, num, sdf=False, question=QUESTION):
        folder = ShardFolder(path, question)
        with folder.opened():
            tasks = folder.left(shards_of(num, SIZE), sdf)
            fill(folder, tasks, tmp_path)
        return tasks

    return finish


@pytest.fixture
def path(finish, tmp_path):
    """A folder with 14 molecules in 4 shards."""
    finish(tmp_path / "out", 14)
    return tmp_path / "out"


def left(path, num=14, sdf=False, question=QUESTION):
    """What a run would say and do: (number, rows, sample, reason) of each task."""
    folder = ShardFolder(path, question)
    tasks = folder.left(shards_of(num, SIZE), sdf)
    return folder.rebuilt, [(task.shard.number, task.shard.rows, task.sample, task.reason) for task in tasks]


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.suffix == PARQUET}


def without_seconds(index):
    return [(entry.name, entry.rows, entry.sha256, entry.nfe, dict(entry.faults)) for entry in index.of_kind(PARQUET)]


def flip(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_an_index_comes_back_as_it_was_written(tmp_path):
    entries = [
        Entry("shard-00000.parquet", 4, "a" * 64, 1.5, 40.5),
        Entry("shard-00001.parquet", 4, "b" * 64, None, 41.0, {"a reason": 2}),
        Entry("shard-00000.sdf.gz", 4, "c" * 64, 0.0),
    ]
    index = Index(QUESTION, 14, {entry.name: entry for entry in entries})
    assert decode_index(index.encode(), tmp_path / INDEX) == index
    assert decode_index(Index(QUESTION).encode(), tmp_path / INDEX) == Index(QUESTION)


def test_what_a_shard_says_of_itself_is_the_same_to_the_byte_from_this_version_on():
    assert own_entry({"seed": 0, "sizes": [3, 4]}, "shard-00001.parquet", 4, 40.0, {"a reason": 1}) == {
        "ead.shard": '{"version": 3, "question": {"seed": 0, "sizes": [3, 4]}, "name": "shard-00001.parquet", '
        '"rows": 4, "nfe": 40.0, "faults": {"a reason": 1}}'
    }


def test_an_index_of_a_later_version_is_refused_but_not_where_it_is_damaged(path):
    body = (path / INDEX).read_text().replace('"version": 3', '"version": 4').partition(',\n "sha256"')[0]
    seal = f',\n "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'
    (path / INDEX).write_text(body + seal)
    with pytest.raises(OutputError, match=r"is an index of shards of version 4; this program reads 3\.$"):
        ShardFolder(path, QUESTION)
    (path / INDEX).write_text(body.replace('"num": 14', '"num": 15') + seal)
    assert left(path)[0].startswith("index.json is damaged")


def test_a_lost_index_is_rebuilt_after_saying_so(path):
    before = decode_index((path / INDEX).read_bytes(), path)
    (path / INDEX).unlink()
    assert left(path) == ("index.json is missing; it is rebuilt from the undamaged shards (4)", [])
    after = decode_index((path / INDEX).read_bytes(), path)
    assert without_seconds(after) == without_seconds(before)
    assert after.num == 14
    assert after.question == QUESTION
    assert left(path) == ("", [])


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b"[]", b'{"version": 3}', b"[" * 100_000, b"\xff\xfe\x00", b"a: b"]
)
def test_a_damaged_index_is_rebuilt_after_saying_so(path, damage):
    (path / INDEX).write_bytes(damage)
    assert left(path) == ("index.json is damaged; it is rebuilt from the undamaged shards (4)", [])


def test_no_flipped_bit_and_no_cut_of_an_index_is_taken_for_something_else(path):
    content = (path / INDEX).read_bytes()
    written = decode_index(content, path)
    bits = np.random.default_rng(0).integers(8 * len(content), size=400).tolist()
    damaged = [flip(content, bit) for bit in bits] + [content[:end] for end in range(0, len(content) - 3, 7)]
    kept = 0
    for changed in damaged:
        try:
            assert decode_index(changed, path / INDEX) == written
            kept += 1  # the line's end, say
        except (DamagedIndexError, OutputError):
            pass
    assert kept < 10


def test_what_is_damaged_too_is_made_again_from_a_rebuilt_index(path, finish):
    before = contents(path)
    (path / INDEX).unlink()
    (path / "shard-00001.parquet").write_bytes(flip(before["shard-00001.parquet"], 999))
    (path / "shard-00002.parquet").unlink()
    said, tasks = left(path)
    assert said == "index.json is missing; it is rebuilt from the undamaged shards (2)"
    assert tasks == [(1, 4, True, "shard-00001.parquet is damaged"), (2, 4, True, "")]
    finish(path, 14)
    assert contents(path) == before


def test_sdf_files_are_made_again_with_a_rebuilt_index(path, finish):
    finish(path, 14, sdf=True)
    (path / INDEX).unlink()
    assert left(path)[1] == [(number, rows, False, "") for number, rows in enumerate((4, 4, 4, 2))]


def test_a_rebuilt_index_refuses_another_question(path):
    (path / INDEX).unlink()
    with pytest.raises(OutputError, match=r"holds molecules with seed=0, not 1; choose another --out\."):
        ShardFolder(path, {**QUESTION, "seed": 1})
    assert not (path / INDEX).exists()


def test_shards_of_different_questions_have_no_index(path, tmp_path):
    (path / INDEX).unlink()
    parquet_of(shards_of(14, SIZE)[2], path / "shard-00002.parquet", {**QUESTION, "seed": 7})
    with pytest.raises(OutputError, match=r"has lost its index\.json, and its shards are of different settings"):
        ShardFolder(path, QUESTION)


def test_a_shard_under_another_name_is_none(path):
    shutil.copy(path / "shard-00000.parquet", path / "shard-00001.parquet")
    assert list(rebuild_index(place_of(path)).entries) == [f"shard-0000{number}.parquet" for number in (0, 2, 3)]


def test_a_folder_without_anything_undamaged_is_refused_and_untouched(path):
    (path / INDEX).write_text("{")
    for file in path.glob("*.parquet"):
        file.write_bytes(b"PAR1")
    before = contents(path)
    with pytest.raises(OutputError, match="is no index of shards; choose another --out"):
        ShardFolder(path, QUESTION)
    (path / INDEX).unlink()
    with pytest.raises(OutputError, match=r"is not empty and holds no index\.json of shards"):
        ShardFolder(path, QUESTION)
    assert contents(path) == before


def test_every_flipped_bit_of_a_shard_has_it_made_again(path):
    file = path / "shard-00001.parquet"
    content = file.read_bytes()
    for bit in np.random.default_rng(0).integers(8 * len(content), size=100).tolist():
        file.write_bytes(flip(content, bit))
        assert left(path) == ("", [(1, 4, True, "shard-00001.parquet is damaged")])


@pytest.mark.parametrize("num", [1, 6, 14, 18])
def test_a_folder_is_mended_up_to_its_last_molecule_however_many_are_asked_for(path, finish, num):
    before = contents(path)
    (path / "shard-00000.parquet").unlink()
    (path / "shard-00002.parquet").write_bytes(b"short")
    (path / "shard-00003.parquet").write_bytes(flip(before["shard-00003.parquet"], 1234))
    finish(path, num)
    after = contents(path)
    assert {name: after[name] for name in before if num < 18 or name != "shard-00003.parquet"} == {
        name: content for name, content in before.items() if num < 18 or name != "shard-00003.parquet"
    }
    folder = ShardFolder(path, QUESTION)
    assert folder.num == folder.rows == max(num, 14)


def test_a_gap_that_a_stopped_run_left_is_filled(path, finish):
    """Actors finish their shards in any order."""
    index = decode_index((path / INDEX).read_bytes(), path)
    entries = {name: entry for name, entry in index.entries.items() if "00001" not in name}
    (path / INDEX).write_bytes(Index(QUESTION, 1000, entries).encode())
    (path / "shard-00001.parquet").unlink()
    assert [task.shard.number for task in finish(path, 4)] == [1]


SHARD = "shard-00000.parquet"
OUTSIDE = ["/etc/x.parquet", f"../{SHARD}", f"a/{SHARD}", f"./{SHARD}", f"a/../{SHARD}", "/tmp/shard-00000.sdf.gz"]


def assert_refused(path, name):
    with pytest.raises(OutputError) as told:
        ShardFolder(path, QUESTION)
    assert f"lists '{name}', which is not a file of its folder" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_entry_outside_the_folder_is_refused(path, name):
    index = decode_index((path / INDEX).read_bytes(), path)
    entries = {**index.entries, name: Entry(name, 4, "0" * 64, 1.0)}
    (path / INDEX).write_bytes(Index(QUESTION, 14, entries).encode())
    assert_refused(path, name)


@pytest.mark.parametrize("name", [*OUTSIDE, "..", "/", "/etc/passwd", "../../.ssh/id"])
def test_an_entry_outside_the_folder_is_refused_also_where_the_index_is_damaged(path, name):
    content = (path / INDEX).read_bytes()
    (path / INDEX).write_bytes(content.replace(b"shard-00001.parquet", name.encode()))
    assert_refused(path, name)


@pytest.mark.parametrize("name", ["shard-1.parquet", "shard-00000.csv", "precious.txt", "", f"{SHARD}\n", INDEX, LOCK])
def test_an_entry_that_is_no_shard_is_damage(path, name):
    content = (path / INDEX).read_bytes()
    (path / INDEX).write_bytes(content.replace(b'"shard-00001.parquet"', json.dumps(name).encode()))
    assert left(path)[0].startswith("index.json is damaged")


@pytest.mark.parametrize("name", ["shard-00001.parquet", "shard-00007.parquet", "shard-00000.sdf.gz", INDEX, LOCK])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_among_the_files_is_refused_and_its_target_untouched(path, tmp_path, name, dangling):
    target = tmp_path / "elsewhere"
    if not dangling:
        target.write_text("precious")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(target)
    with pytest.raises(OutputError, match=f"{name} is a link; the files of a generation must lie in its folder"):
        ShardFolder(path, QUESTION)
    assert not target.exists() if dangling else target.read_text() == "precious"


def test_a_folder_that_is_a_link_itself_is_continued(path, finish, tmp_path):
    (tmp_path / "link").symlink_to(path)
    assert [task.shard.number for task in finish(tmp_path / "link", 16)] == [3]


def test_unusable_molecules_are_counted_in_the_index_and_after_its_loss(path):
    for _ in range(2):
        assert ShardFolder(path, QUESTION).faults == {"a coordinate is not a finite number": 1}
        (path / INDEX).unlink(missing_ok=True)


def test_what_a_folder_cost_is_known_as_far_as_the_seconds_are(path, finish):
    cost = ShardFolder(path, QUESTION).cost
    assert (cost.nfe, round(cost.seconds, 3)) == (40, round(4 * 1.5 / 14, 3))
    (path / INDEX).unlink()
    assert np.isnan(ShardFolder(path, QUESTION).cost.seconds)
    finish(path, 18)
    assert ShardFolder(path, QUESTION).cost.seconds == 1.5 * 2 / 6  # of the last partial shard and the new one
