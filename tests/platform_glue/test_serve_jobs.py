"""Jobs without a cluster: what is delivered, read meanwhile, continued, cancelled, and what fails."""

import threading
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from ead_platform.generation import making
from ead_platform.generation.actors import GenerationError
from ead_platform.generation.places import place_of

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.sampling.delivery import deliver
from ead_core.sampling.generation import sample
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request, sampler_config
from serve import job_worker, jobs_store
from serve.job_pages import GoneError
from serve.job_worker import DEADLY, FAILED, MOST_TAKEN, OTHER_MODEL, JobWorker
from serve.jobs_desk import Desk, FullError, UnknownJobError
from serve.jobs_schema import JobDescription
from serve.jobs_store import LEASE, StoreError
from serve.refusals import RefusalError
from serve.schema import JobRequest
from serve.settings import ServeSettings

from .jobs_here import MakersHere, finish

pytestmark = pytest.mark.usefixtures("judged_here")

SAMPLER = {"sampler.policy": "synchronous", "sampler.steps": 8}
PLAIN = {"num": 10, "seed": 3, "sizes": [4, 5], "sampler": SAMPLER}
CHOSEN = {"accept": "finite & even_electrons", "until": 7, **{key: PLAIN[key] for key in ("seed", "sizes", "sampler")}}
ROUNDING = 1e-4  # Å


@pytest.fixture
def settings(tiny_checkpoint, tmp_path):
    return ServeSettings(checkpoint=str(tiny_checkpoint), jobs_folder=str(tmp_path / "jobs"), job_shard=3)


@pytest.fixture
def checkpoint(tiny_checkpoint):
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def desk(settings, checkpoint):
    return Desk(checkpoint, settings)


def ask(desk, body, key=None):
    return desk.take_in(JobRequest.model_validate(body), key).id


def pages(desk, job, limit=4):
    """All molecules that can be read, page after page; the job has ended."""
    cursor, ids, positions = "0", [], []
    while cursor:
        _, page, cursor = desk.molecules(job, int(cursor), limit)
        assert len(page.molecules) <= limit
        ids += page.molecules.properties["id"].tolist() if len(page.molecules) else []
        positions += [molecule.positions for molecule in page.molecules]
    return ids, positions


# --- what is delivered


def test_a_job_delivers_the_molecules_of_its_seed_in_pages(desk, settings, checkpoint):
    job = ask(desk, PLAIN)
    finish(settings)
    alone = sample(checkpoint, 10, seed=3, sizes=[4, 5], policy="synchronous", steps=8)
    ids, positions = pages(desk, job)
    assert ids == list(range(10))
    for own, molecule in zip(positions, alone, strict=True):
        assert own == pytest.approx(molecule.positions, abs=ROUNDING)
    told = JobDescription.of(desk.job(job))
    assert (told.state, told.progress.delivered, told.progress.attempts) == ("done", 10, 10)
    assert told.created <= told.started <= told.ended


def test_a_job_delivers_what_a_delivery_does_with_its_ledger(desk, settings, checkpoint):
    job = ask(desk, CHOSEN)
    finish(settings, MakersHere(order=reversed))
    request = Request(1, sampler_config(checkpoint, {"policy": "synchronous", "steps": 8}), 3, sizes=(4, 5))
    accept = desk.planner.border.order(JobRequest.model_validate(CHOSEN)).accept
    alone, ledger = deliver(checkpoint, request, Order(accept, until=7))
    ids, _ = pages(desk, job)
    assert ids == alone.properties["id"].tolist()
    own = JobDescription.of(desk.job(job)).progress.ledger
    kept = ("asked", "attempts", "delivered", "refused", "stopped")
    assert [getattr(own, name) for name in kept] == [getattr(ledger, name) for name in kept]


def test_a_page_says_how_its_molecules_were_made(desk, settings):
    job = ask(desk, PLAIN)
    assert desk.molecules(job, 0, 5)[1].passport is None
    finish(settings)
    passport = desk.molecules(job, 0, 5)[1].passport
    assert (passport.seed, passport.sampler.steps, passport.model) == (3, 8, desk.model)


# --- what is read meanwhile


@pytest.fixture
def kinds(monkeypatch):
    """Molecules are of five kinds, two of each after the other."""

    def accepted(molecules, _):
        keys = np.array([f"KIND-{number // 2 % 5}" for number in molecules.properties["id"].tolist()])
        return replace(molecules, properties={**molecules.properties, "inchikey": keys}), Counter()

    monkeypatch.setattr(making, "accepted", accepted)


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        {**PLAIN, "num": 12, "accept": "unique"},
        {**CHOSEN, "accept": "unique", "until": 5},
    ],
)
def test_what_was_read_meanwhile_is_the_beginning_of_the_end(desk, settings, body):
    seen, job = [], ask(desk, body)

    def look(_):
        _, page, following = desk.molecules(job, 0, 500)
        seen.append(page.molecules.properties["id"].tolist() if len(page.molecules) else [])
        assert following == str(len(seen[-1]))  # there may be more

    backwards_by_pairs = lambda tasks: [task for at in range(0, len(tasks), 2) for task in tasks[at : at + 2][::-1]]  # noqa: E731
    finish(settings, MakersHere(backwards_by_pairs, look))
    ids, _ = pages(desk, job)
    assert seen[0] == seen[1] == []  # the second shard is there, the first is not
    assert 0 < len(seen[2]) < len(ids)
    assert all(ids[: len(part)] == part for part in seen)


# --- interruptions


def begun(settings, shards, error):
    """A worker that has made so many shards of a job, then raises an error."""
    count = []

    def before(_):
        count.append(None)
        if len(count) > shards:
            raise error

    makers = MakersHere(before=before)
    return finish(settings, makers), makers


class KilledError(BaseException):
    """The end of a process."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("body", [PLAIN, CHOSEN])
def test_the_job_of_a_dead_worker_goes_on_where_it_was(desk, settings, body, monkeypatch):
    job = ask(desk, body)
    _, first = begun(settings, 2, KilledError())
    assert desk.job(job).state == "running"
    before, _ = pages_now(desk, job)
    assert before
    now = time.time() + LEASE + 1
    monkeypatch.setattr(jobs_store.time, "time", lambda: now)
    second = MakersHere()
    finish(settings, second)
    assert first.made == [0, 1]
    assert not set(first.made) & set(second.made)
    ids, positions = pages(desk, job)
    assert ids[: len(before)] == before
    undisturbed = ask(desk, body)
    finish(settings)
    again, same = pages(desk, undisturbed)
    assert again == ids
    assert all((one == other).all() for one, other in zip(positions, same, strict=True))


def pages_now(desk, job):
    _, page, following = desk.molecules(job, 0, 500)
    return page.molecules.properties["id"].tolist() if len(page.molecules) else [], following


def held_before(shard):
    """Holds a worker before a shard: what to give it, an event that tells that it is held, and one that lets it go."""
    going, stop = threading.Event(), threading.Event()

    def before(task):
        if task.shard.number == shard:
            going.set()
            stop.wait(10)

    return before, going, stop


def test_a_worker_that_is_stopped_leaves_its_job_to_the_next(desk, settings):
    job, (before, going, stop) = ask(desk, PLAIN), held_before(2)
    worker = JobWorker(settings, MakersHere(before=before))
    worker.look()
    assert going.wait(30)
    threading.Timer(0.1, stop.set).start()
    worker.stop()
    assert desk.job(job).state == "queued"
    assert JobDescription.of(desk.job(job)).progress.delivered == 6
    finish(settings)
    assert pages(desk, job)[0] == list(range(10))


def test_a_cancelled_job_stops_and_what_is_finished_can_be_read(desk, settings):
    job, (before, going, stop) = ask(desk, PLAIN), held_before(2)
    makers = MakersHere(before=before)
    worker = JobWorker(settings, makers)
    worker.look()
    assert going.wait(30)
    assert desk.cancel(job).state == "cancelled"
    worker.look()
    stop.set()
    [(_, thread)] = worker._running
    thread.join(30)
    assert makers.made == [0, 1]
    assert pages_now(desk, job) == (list(range(6)), None)
    finish(settings)
    assert desk.cancel(job).state == "cancelled"
    assert makers.made == [0, 1]


def test_a_database_that_is_away_meanwhile_stops_no_job(desk, settings, monkeypatch):
    job, store = ask(desk, PLAIN), settings.job_store()

    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(store, "report", away)
    monkeypatch.setattr(settings.__class__, "job_store", lambda _: store)
    finish(settings)
    assert desk.job(job).state == "done"
    assert pages(desk, job)[0] == list(range(10))


def test_a_run_that_is_still_at_work_in_the_folder_is_waited_for(desk, settings, monkeypatch):
    job = ask(desk, PLAIN)
    monkeypatch.setattr(job_worker, "PAUSE", 0.05)
    with place_of(settings.folder_of(job)).alone():
        worker = JobWorker(settings, MakersHere())
        worker.look()
        [(_, thread)] = worker._running
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(30)
    assert desk.job(job).state == "done"


# --- failures


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (GenerationError("an actor could not start: x."), "an actor could not start: x."),
        (RuntimeError("secret"), FAILED),
    ],
)
def test_a_failure_has_a_sentence_and_keeps_what_was_finished(desk, settings, error, problem):
    job = ask(desk, PLAIN)
    begun(settings, 1, error)
    told = JobDescription.of(desk.job(job))
    assert (told.state, told.problem, told.progress.rate) == ("failed", problem, None)
    assert pages(desk, job)[0] == [0, 1, 2]


def test_a_job_that_kills_its_workers_is_given_up(desk, settings, monkeypatch):
    job, store, now = ask(desk, PLAIN), settings.job_store(), time.time()
    for number in range(MOST_TAKEN):
        monkeypatch.setattr(jobs_store.time, "time", lambda number=number: now + number * (LEASE + 1))
        assert store.take("dead")
    monkeypatch.setattr(jobs_store.time, "time", lambda: now + MOST_TAKEN * (LEASE + 1))
    finish(settings)
    assert (desk.job(job).state, desk.job(job).problem) == ("failed", DEADLY)


def test_a_job_is_not_made_by_another_model_of_the_same_name(desk, settings):
    desk._fingerprint = "another"
    job = ask(desk, PLAIN)
    finish(settings)
    assert desk.job(job).problem == OTHER_MODEL


def test_later_limits_of_the_service_do_not_change_a_job(desk, settings):
    job = ask(desk, PLAIN)
    finish(settings.model_copy(update={"max_job_molecules": 1, "job_shard": 7, "batch_molecules": 2}))
    assert pages(desk, job)[0] == list(range(10))


def test_removed_molecules_are_gone(desk, settings):
    job = ask(desk, PLAIN)
    finish(settings)
    place = place_of(settings.folder_of(job))
    for name in place.names():
        place.remove(name)
    with pytest.raises(GoneError):
        desk.molecules(job, 0, 1)


# --- what is taken in


def test_the_same_key_is_the_same_job_and_with_another_body_a_mistake(desk):
    job = ask(desk, {"num": 4}, "k")
    assert ask(desk, {"num": 4.0}, "k") == job
    assert ask(desk, {"num": 4}, "other") != job
    with pytest.raises(RefusalError, match=f"was given before with another body, for job {job}") as raised:
        ask(desk, {"num": 5}, "k")
    assert raised.value.location == ("header", "Idempotency-Key")
    with pytest.raises(RefusalError, match="must have 1 to 255 characters, not 256"):
        ask(desk, {"num": 5}, "k" * 256)


@pytest.mark.parametrize(
    ("body", "place", "sentence"),
    [
        ({"num": 10_001}, ("num",), "between 1 and 10000"),
        ({"accept": "valid", "until": 10_001}, ("until",), "between 1 and 10000"),
        ({"targets": {"gap": 1}}, ("targets",), "takes no targets"),
        ({"num": 3, "sizes": [40]}, ("sizes", 0), "between 4 and 6 atoms"),
        ({"num": 10_000}, ("num",), "ask for at most"),
    ],
)
def test_what_cannot_be_made_is_refused_before_it_is_a_job(settings, checkpoint, body, place, sentence):
    limit = {"max_job_calls": 100_000} if "at most" in sentence else {}
    desk = Desk(checkpoint, settings.model_copy(update=limit))
    with pytest.raises(RefusalError, match=sentence) as raised:
        ask(desk, body)
    assert raised.value.location == ("body", *place)
    assert desk.newest(5, None) == ([], None)


def test_too_many_waiting_jobs_turn_others_away(settings, checkpoint):
    desk = Desk(checkpoint, settings.model_copy(update={"max_jobs_waiting": 2}))
    first = ask(desk, {"num": 1}, "k")
    ask(desk, {"num": 1})
    with pytest.raises(FullError):
        ask(desk, {"num": 1})
    assert ask(desk, {"num": 1}, "k") == first  # it is no further one
    with pytest.raises(UnknownJobError, match="There is no job x"):
        desk.job("x")


def test_molecules_may_lie_in_another_store(settings, checkpoint, tmp_path, monkeypatch):
    store = settings.job_store()
    monkeypatch.setattr(ServeSettings, "job_store", lambda _: store)
    elsewhere = settings.model_copy(update={"jobs_folder": f"file://{tmp_path}/store"})
    desk = Desk(checkpoint, elsewhere)
    job = ask(desk, PLAIN)
    (tmp_path / "store" / job).mkdir(parents=True)  # which object stores do not need
    finish(elsewhere)
    assert desk.job(job).problem is None
    assert pages(desk, job)[0] == list(range(10))
