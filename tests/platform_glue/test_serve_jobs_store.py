"""The database of jobs, in a file of SQLite and in PostgreSQL: nobody gets a job twice, and none is lost."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from ead_core.errors import ConfigError
from serve import jobs_store
from serve.jobs_address import database_address
from serve.jobs_store import LEASE, StoreError, open_store

from .postgresql_here import postgresql


@pytest.fixture(scope="module")
def server():
    with postgresql() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Folder and address of a database that is empty."""
    if request.param == "sqlite":
        return str(tmp_path), ""
    address = request.getfixturevalue("server")
    with create_engine(address).begin() as connection:
        connection.execute(text("drop table if exists ead_jobs_1"))
    return str(tmp_path), address.replace("+psycopg", "")


@pytest.fixture
def store(place):
    return open_store(*place)


@pytest.fixture
def clock(monkeypatch):
    """The time that workers see."""
    now = [1000.0]
    monkeypatch.setattr(jobs_store.time, "time", lambda: now[0])
    return now


def add(store, key=None, request="{}"):
    return store.add(request, "{}", "f", key)


def test_a_job_is_kept_for_later_processes(store, place):
    job = add(store)
    assert open_store(*place).get(job.id) == job
    assert (job.state, job.request, job.fingerprint, job.taken) == ("queued", "{}", "f", 0)
    assert store.get("no") is None


def test_jobs_are_listed_newest_first_a_page_after_the_other(store):
    ids = [add(store).id for _ in range(5)]
    page = store.newest(3)
    assert [job.id for job in page] == ids[:1:-1]
    assert [job.id for job in store.newest(3, page[-1].number)] == ids[1::-1]


def test_one_key_is_one_job_even_at_the_same_moment(place):
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: add(open_store(*place), key="k"), range(8)))
    assert len({job.id for job in jobs}) == 1
    assert open_store(*place).with_key("k") == jobs[0]
    assert open_store(*place).waiting() == 1


def test_workers_that_come_at_once_get_different_jobs_the_oldest_first(place):
    store = open_store(*place)
    ids = [add(store).id for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        taken = [job for job in pool.map(lambda worker: open_store(*place).take(str(worker)), range(8)) if job]
    assert len({job.id for job in taken}) == len(taken) >= 1
    while job := store.take("last"):
        taken.append(job)
    assert sorted(job.id for job in taken) == sorted(ids)
    assert all(job.state == "running" for job in taken)


def test_the_oldest_is_taken_first(store):
    first, second = add(store), add(store)
    assert [store.take("w").id, store.take("w").id, store.take("w")] == [first.id, second.id, None]


def test_a_job_of_a_dead_worker_is_taken_up_and_not_ended_by_the_dead(store, clock):
    job = add(store)
    store.take("dead")
    clock[0] += LEASE - 1
    assert store.take("other") is None
    assert store.renew(job.id, "dead")
    clock[0] += LEASE - 1
    assert store.take("other") is None
    clock[0] += 2
    again = store.take("other")
    assert (again.id, again.worker, again.taken, again.started) == (job.id, "other", 2, 1000.0)
    assert not store.renew(job.id, "dead")
    assert not store.report(job.id, "dead", "p")
    assert not store.end(job.id, "dead", "p")
    assert store.report(job.id, "other", "q")
    assert (store.get(job.id).progress, store.get(job.id).taken) == ("q", 0)
    assert store.end(job.id, "other", "r")
    assert (store.get(job.id).state, store.get(job.id).progress) == ("done", "r")


def test_who_ends_in_order_gives_jobs_back_at_once(store, clock):
    job = add(store)
    store.take("w")
    store.give_back("w")
    assert store.get(job.id).state == "queued"
    assert store.take("next").taken == 1


def test_a_cancelled_job_is_nobodys_and_what_has_ended_stays(store):
    waiting, running, done = add(store), add(store), add(store)
    for _ in range(3):
        store.take("w")
    store.give_back("w")
    for _ in range(3):
        store.take("w")
    store.end(done.id, "w", "p")
    for job in (waiting, running, done):
        store.cancel(job.id)
    assert [store.get(job.id).state for job in (waiting, running, done)] == ["cancelled", "cancelled", "done"]
    assert not store.renew(running.id, "w")
    assert not store.end(running.id, "w", "p")
    assert store.take("w") is None


def test_a_failure_has_its_reason(store):
    job = add(store)
    store.take("w")
    store.end(job.id, "w", "p", "It was too much.")
    assert (store.get(job.id).state, store.get(job.id).problem) == ("failed", "It was too much.")


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match=r"^the database of jobs, postgresql.*, does not answer\.$"):
        open_store(str(tmp_path), f"postgresql://ead@/nowhere?host={tmp_path}")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"jobs_folder=.*file/jobs cannot be made"):
        open_store(str(tmp_path / "file" / "jobs"), "")


@pytest.mark.skipif(os.name != "posix", reason="paths")
@pytest.mark.parametrize(
    ("folder", "given", "address"),
    [
        ("/jobs", "", "sqlite:////jobs/jobs.db"),
        ("/jobs", "postgresql://ead@db/ead", "postgresql+psycopg://ead@db/ead"),
        ("s3://bucket/jobs", "postgresql+psycopg://ead@db/ead", "postgresql+psycopg://ead@db/ead"),
    ],
)
def test_where_jobs_are_kept(folder, given, address):
    assert database_address(folder, given) == address


@pytest.mark.parametrize(
    ("folder", "given", "sentence"),
    [
        ("s3://bucket/jobs", "", "jobs_database must be an address such as postgresql://ead@host/ead where jobs_fold"),
        ("/jobs", "mysql://ead@db/ead", "must begin with postgresql://, not mysql://."),
        ("/jobs", "postgresql://ead:secret@db/ead", "holds a password"),
        ("/jobs", "nonsense", "must look like postgresql://ead@host/ead."),
    ],
)
def test_what_is_no_place_for_jobs_is_one_sentence(folder, given, sentence):
    with pytest.raises(ConfigError, match=sentence) as raised:
        database_address(folder, given)
    assert "secret" not in str(raised.value)
