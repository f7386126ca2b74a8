"""Generations in folders and in an object store: the same files, one run at a time, and the same sentences."""

import contextlib
import threading
import time

import boto3
import pyarrow.dataset as ds
import pytest
from ead_platform.generation import object_store
from ead_platform.generation.deliveries import rounds
from ead_platform.generation.making import ShardMaker
from ead_platform.generation.places import place_of
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole
from ead_platform.generation.shards import ShardFolder
from ead_platform.generation.status import cancel, status
from moto.server import ThreadedMotoServer

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.shard_folders import INDEX
from ead_core.errors import OutputError
from ead_core.evaluation.criteria import Acceptance
from ead_core.sampling.order import Order

pytestmark = pytest.mark.usefixtures("judged_here")


@pytest.fixture(scope="module")
def server():
    """The address of an S3 store on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def address(server, monkeypatch):
    """Of a new folder in a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = boto3.client("s3", endpoint_url=f"http://{server}", region_name="us-east-1")
    store.create_bucket(Bucket="molecules")
    for found in store.list_objects_v2(Bucket="molecules").get("Contents", []):
        store.delete_object(Bucket="molecules", Key=found["Key"])
    return f"s3://molecules/made?region=us-east-1&scheme=http&endpoint_override={server}"


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path):
    return place_of(request.getfixturevalue("address") if request.param == "store" else tmp_path / "made")


@pytest.fixture
def plan(tiny_checkpoint):
    sampler, order = SamplerConfig(policy="synchronous", steps=4), Order(Acceptance.parse("finite"), 10, 40)
    return GenerationPlan(load_checkpoint(tiny_checkpoint), 40, 4, 1, (4,), sampler, 1, 0, order=order)


def work(place, plan, most=10**6):
    """A run that ends after so many shards of a round."""
    folder = ShardFolder(place, plan.question(), plan.asked)
    console, maker = GenerationConsole(folder, plan), ShardMaker(plan)
    with folder.opened():
        for tasks in rounds(folder, plan, True):
            for task in tasks[:most]:
                console.finished(task, maker.make(task, None if task.sample else folder.content(task.shard)))
            if len(tasks) > most:
                break
    return folder


def test_files_are_whole_replaced_and_removed(place):
    assert (place.names(), place.written("a")) == ([], None)
    with pytest.raises(OSError, match="a"):
        place.read("a")
    place.write("a", b"first")
    place.write("a", b"second")
    place.write("b", b"")
    assert (sorted(place.names()), place.read("a"), place.read("b")) == (["a", "b"], b"second", b"")
    assert place.sha256("b") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert place.written("a") > 1.6e9
    place.remove("a")
    place.remove("a")
    assert place.names() == ["b"]


def test_one_run_at_a_time_is_at_work(place):
    place.write("a", b"")
    assert not place.at_work()
    with place.alone():
        assert place.at_work()
        assert place.names() == ["a"]
        with pytest.raises(OutputError, match="another run is writing to"), place.alone():
            pass
        assert place.at_work()
    assert not place.at_work()
    with place.alone():
        pass


def test_a_store_holds_what_a_folder_holds_and_a_stopped_run_goes_on(address, plan, tmp_path):
    work(place_of(address), plan, most=1)
    stored, local = work(place_of(address), plan), work(place_of(tmp_path / "made"), plan)
    names = sorted(local.place.names())
    assert sorted(stored.place.names()) == names
    assert len(names) == 1 + 2 * 3  # ten molecules of four to a shard
    assert all(stored.place.read(name) == local.place.read(name) for name in names if name != INDEX)
    assert stored.ledger.model_copy(update={"seconds": 0}) == local.ledger.model_copy(update={"seconds": 0})
    assert list(status(stored.place).lines)[1:3] == list(status(local.place).lines)[1:3]


def test_damage_in_a_store_is_mended(address, plan):
    place = work(place_of(address), plan).place
    before = {name: place.read(name) for name in place.names()}
    place.write("shard-00001.parquet", before["shard-00001.parquet"][:-9])
    place.remove("shard-00002.parquet")
    place.write(INDEX, b"{")
    work(place, plan)
    assert {name: place.read(name) for name in place.names() if name != INDEX} == {
        name: content for name, content in before.items() if name != INDEX
    }


def test_a_run_that_was_killed_is_forgotten_and_one_that_lives_is_not(address, monkeypatch):
    first, second = place_of(address), place_of(address)
    first.write(f"{object_store.LEASE}killed", b"")
    with pytest.raises(OutputError, match=r"One that was killed is forgotten after 120 seconds\."), second.alone():
        pass
    monkeypatch.setattr(object_store, "EXPIRY", 1)
    time.sleep(2.1)  # the store counts whole seconds
    assert not first.at_work()
    monkeypatch.setattr(object_store, "EXPIRY", 2)
    monkeypatch.setattr(object_store, "RENEWAL", 0.2)
    with first.alone():
        time.sleep(3.1)
        assert second.at_work()


def test_of_runs_that_begin_at_once_at_most_one_goes_on(address):
    together, inside, most = threading.Barrier(4), [], []

    def run():
        place = place_of(address)
        together.wait()
        with contextlib.suppress(OutputError), place.alone():
            inside.append(place)
            time.sleep(0.3)
            most.append(len(inside))
            inside.remove(place)

    for _ in range(3):
        runs = [threading.Thread(target=run) for _ in range(4)]
        for each in runs:
            each.start()
        for each in runs:
            each.join()
    assert set(most) <= {1}
    assert not place_of(address).at_work()


def test_a_run_that_slept_too_long_writes_only_if_no_other_is_at_work(address):
    first, second = place_of(address), place_of(address)
    with first.alone():
        first._lease._renewed -= object_store.EXPIRY + 1
        second.remove(first._lease.name)  # as who finds it expired does
        with second.alone():
            second.write("a", b"of the second")
            with pytest.raises(OutputError, match="another run is writing to"):
                first.write("a", b"of the first")
            assert first.read("a") == b"of the second"
        first.write("a", b"of the first")
        assert second.at_work()
    assert first.names() == ["a"]
    assert not first.at_work()


class Silent:
    """A store that does not answer any more."""

    def __getattr__(self, name):
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation: Could not connect to server.")


def run_until(place, plan, most):
    """A run whose store stops answering after so many shards; how often it was asked then."""
    folder = ShardFolder(place, plan.question(), plan.asked)
    console, maker = GenerationConsole(folder, plan), ShardMaker(plan)
    with console.closing(), folder.opened():
        [*tasks] = next(rounds(folder, plan, True))
        for number, task in enumerate(tasks):
            if number == most:
                place._store = Silent()
            console.finished(task, maker.make(task, None))


def test_a_store_that_stops_answering_is_one_sentence_and_the_run_goes_on_later(address, plan, tmp_path, monkeypatch):
    with pytest.raises(OutputError) as told:
        run_until(place_of(address), plan, 1)
    assert str(told.value) == (
        "cannot write shard-00001.parquet to s3://molecules/made: AWS Error NETWORK_CONNECTION during PutObject "
        "operation: Could not connect to server. 4 of 12 attempts are finished in s3://molecules/made. "
        "The same command continues."
    )
    monkeypatch.setattr(object_store, "EXPIRY", -1)  # its lease is still there
    stored, local = work(place_of(address), plan), work(place_of(tmp_path / "made"), plan)
    names = [name for name in local.place.names() if name != INDEX]
    assert all(stored.place.read(name) == local.place.read(name) for name in names)


@pytest.mark.parametrize("call", ["names", "read", "sha256", "written", "remove", "at_work"])
def test_nothing_is_a_traceback_of_a_store_that_does_not_answer(address, call):
    place = place_of(address)
    place._store = Silent()
    with pytest.raises(OutputError, match=r"^cannot .* s3://molecules/made: AWS Error NETWORK_CONNECTION"):
        getattr(place, call)(*(["a"] if call in ("read", "sha256", "written", "remove") else []))


def test_a_run_in_a_store_can_be_cancelled(address, plan):
    folder = ShardFolder(address, plan.question(), plan.asked)
    work(folder.place, plan, most=1)
    with folder.opened():
        assert not folder.cancelled
        cancel(folder.place)
        assert folder.cancelled
    assert not folder.cancelled


@pytest.mark.parametrize("where", ["ftp://host/x", "s3://", "nonsense://x"])
def test_an_address_that_is_none_is_one_sentence(where):
    with pytest.raises(OutputError, match="cannot be used as a place for molecules: "):
        place_of(where)


def test_shards_in_a_store_are_read_as_the_tutorial_says(address, plan, server, monkeypatch):
    work(place_of(address), plan)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    table = ds.dataset("s3://molecules/made", format="parquet", exclude_invalid_files=True).to_table()
    assert sorted(table["id"].to_pylist()) == list(range(10))
    assert len(place_of("s3://molecules/made").names()) == 7
