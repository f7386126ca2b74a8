"""The worker: takes jobs from the database, runs some at once, and shows that it is alive while it does."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from functools import cached_property

from ead_platform.generation.actors import GenerationError
from ead_platform.generation.places import place_of

from ead_core.errors import EADError, OutputError
from serve.job_plan import Planner
from serve.job_progress import StoredProgress
from serve.job_run import Makers, run
from serve.jobs_store import LEASE, Job, JobStore, StoreError
from serve.schema import JobRequest
from serve.settings import ServeSettings

logger = logging.getLogger("ray.serve")

PAUSE = 1.0  # seconds between two looks at the database
MOST_TAKEN = 5  # times that a job is taken up without anything being finished: then it must be what kills its workers
FAILED = "The job failed; the server's log says why."
DEADLY = f"The job was begun {MOST_TAKEN} times, and each time its worker ended before a part of it was finished."
OTHER_MODEL = "The model that the job was accepted for is not there any more: what has its name now is another one."


class LostError(Exception):
    """The job is not this worker's any more: it was cancelled, or another took it up."""


class _Claim:
    """A worker's claim on a job, as the thread that runs it sees it."""

    def __init__(self, store: JobStore, job: Job, worker: str) -> None:
        self.job, self.lost = job, threading.Event()
        self._store, self._worker = store, worker
        self._progress = job.progress

    def check(self) -> None:
        """LostError if there is none any more."""
        if self.lost.is_set():
            raise LostError

    def renew(self) -> None:
        """Say that the worker is alive (StoreError: the database does not answer)."""
        if not self._store.renew(self.job.id, self._worker):
            self.lost.set()

    def report(self, progress: StoredProgress) -> None:
        """Write what is finished, later if the database does not answer now."""
        self._progress = progress.model_dump_json()
        with contextlib.suppress(StoreError):
            if not self._store.report(self.job.id, self._worker, self._progress):
                self.lost.set()
        self.check()

    def end(self, problem: str | None) -> None:
        """The job is done, or has failed for a reason (StoreError: the database does not answer)."""
        self._store.end(self.job.id, self._worker, self._progress, problem)


class JobWorker:
    """Runs jobs in threads of this process until it is stopped.

    Args:
        settings: of the service, located.
        makers: gives a job who makes its shards; it is handed what raises `LostError` once the job is lost, which is to
            be called every few seconds.
    """

    def __init__(self, settings: ServeSettings, makers: Callable[[Callable[[], None]], Makers]) -> None:
        self._settings, self._makers = settings, makers
        self._name = uuid.uuid4().hex
        self._running: list[tuple[_Claim, threading.Thread]] = []
        self._stopped = threading.Event()

    @cached_property
    def _store(self) -> JobStore:
        return self._settings.job_store()

    def work(self) -> None:
        """Look for jobs until `stop` is called."""
        while not self._stopped.wait(PAUSE):
            with contextlib.suppress(StoreError):  # a later look may succeed
                self.look()

    def stop(self) -> None:
        """End, and let another worker go on with the jobs."""
        self._stopped.set()
        for claim, _ in self._running:
            claim.lost.set()
        for _, thread in self._running:
            thread.join(LEASE)
        with contextlib.suppress(StoreError):  # then others wait until this worker counts as dead
            self._store.give_back(self._name)

    def look(self) -> None:
        """Renew the claims on running jobs, and begin others where there is room.

        Raises:
            StoreError: the database does not answer.
        """
        self._running = [(claim, thread) for claim, thread in self._running if thread.is_alive()]
        for claim, _ in self._running:
            claim.renew()
        while len(self._running) < self._settings.jobs_at_once and (job := self._store.take(self._name)):
            claim = _Claim(self._store, job, self._name)
            thread = threading.Thread(target=self._run, args=[claim], name=f"job-{job.id}", daemon=True)
            self._running.append((claim, thread))
            thread.start()

    def _run(self, claim: _Claim) -> None:
        """Bring a job to its end, whatever that is."""
        name = claim.job.id
        try:
            claim.end(self._outcome(claim))
        except LostError:
            logger.info("Job %s is stopped.", name)
        except StoreError:
            logger.exception("Job %s is left to whoever takes it up.", name)

    def _outcome(self, claim: _Claim) -> str | None:
        """Run a job; why it failed, None if it did not (LostError: it was stopped)."""
        if claim.job.taken > MOST_TAKEN:
            return DEADLY
        try:
            return self._made(claim)
        except LostError:
            raise
        except Exception as error:
            logger.exception("Job %s failed.", claim.job.id)
            telling = isinstance(error, EADError | GenerationError) and not isinstance(error, OutputError)
            return str(error) if telling else FAILED  # where the server keeps things is not for clients

    def _made(self, claim: _Claim) -> str | None:
        settings = self._settings.under(claim.job.terms)
        checkpoint = settings.load()
        if checkpoint.fingerprint() != claim.job.fingerprint:
            return OTHER_MODEL
        plan = Planner(checkpoint, settings).plan(JobRequest.model_validate_json(claim.job.request))
        where = settings.folder_of(claim.job.id)
        while place_of(where).at_work():  # a worker that was taken to be dead has not noticed it yet
            claim.check()
            time.sleep(PAUSE)
        run(where, plan, self._makers(claim.check), claim.report)
        return None
