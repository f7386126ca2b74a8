"""What the routes about jobs do, apart from HTTP: take jobs in, and tell how they stand."""

import json
import re
from functools import cached_property

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.errors import EADError
from serve.job_pages import Page, page
from serve.job_plan import Planner
from serve.jobs_schema import progress_of_stored
from serve.jobs_store import OPEN, Job, JobStore
from serve.refusals import RefusalError
from serve.schema import JobRequest
from serve.settings import ServeSettings

KEY = "Idempotency-Key"
LONGEST_KEY = 255
_ID = re.compile("[0-9a-f]{32}")


class FullError(EADError):
    """Too many jobs are waiting."""


class UnknownJobError(EADError):
    """There is no job of an id."""


class Desk:
    """Takes jobs in and tells how they stand; the work is done by whoever reads the same database.

    Args:
        checkpoint: the model.
        settings: of the service, located.

    Attributes:
        model: its name.
        planner: says how a job is made.
    """

    def __init__(self, checkpoint: Checkpoint, settings: ServeSettings) -> None:
        self._settings, self._fingerprint, self.model = settings, checkpoint.fingerprint(), checkpoint.name
        self.planner = Planner(checkpoint, settings)

    @cached_property
    def _store(self) -> JobStore:
        return self._settings.job_store()  # at the first question, so that a service without jobs keeps nothing

    def take_in(self, wanted: JobRequest, key: str | None = None) -> Job:
        """The new job; with a key that was given before, the job of then.

        Raises:
            RefusalError: a value outside its range, or a key that was given with another body.
            FullError: too many jobs are waiting.
            StoreError: the database does not answer, as from every method.
        """
        request = json.dumps(wanted.as_sent(), sort_keys=True)
        if key is not None and (earlier := self._earlier(_checked(key), request)):
            return earlier
        self.planner.plan(wanted)
        if self._store.waiting() >= self._settings.max_jobs_waiting:
            raise FullError("Too many jobs are waiting.")
        job = self._store.add(request, self._settings.terms, self._fingerprint, key)
        return _same(job, request)

    def costing(self, wanted: JobRequest) -> tuple[ServeSettings, str]:
        """What `estimated` takes to say what a job will cost (RefusalError: it cannot be one)."""
        self.planner.plan(wanted)
        return self._settings, json.dumps(wanted.as_sent())

    def _earlier(self, key: str, request: str) -> Job | None:
        job = self._store.with_key(key)
        return job and _same(job, request)

    def job(self, name: str) -> Job:
        """A job by its id (UnknownJobError: there is none)."""
        job = self._store.get(name) if _ID.fullmatch(name) else None  # not every text may be asked of a database
        if job is None:
            raise UnknownJobError(f"There is no job {name[:40]}.")
        return job

    def newest(self, limit: int, before: int | None) -> tuple[list[Job], str | None]:
        """The last jobs before a place, newest first, and the place of those that follow."""
        jobs = self._store.newest(limit + 1, before)
        return jobs[:limit], str(jobs[limit - 1].number) if len(jobs) > limit else None

    def cancel(self, name: str) -> Job:
        """End a job, if it has not ended by itself; its work stops within seconds (UnknownJobError)."""
        self.job(name)
        self._store.cancel(name)
        return self.job(name)

    def molecules(self, name: str, first: int, limit: int) -> tuple[Job, Page, str | None]:
        """The job, its molecules from a place on, and the place of those that follow.

        Raises:
            UnknownJobError: there is no such job.
            GoneError: its molecules were removed.
        """
        job = self.job(name)
        progress = progress_of_stored(job)
        found = page(self._settings.folder_of(name), progress, first, limit)
        end = first + len(found.molecules)
        return job, found, str(end) if job.state in OPEN or end < progress.delivered else None


def _checked(key: str) -> str:
    if not 1 <= len(key) <= LONGEST_KEY:
        raise RefusalError(("header", KEY), f"must have 1 to {LONGEST_KEY} characters, not {len(key)}.")
    return key


def _same(job: Job, request: str) -> Job:
    if job.request != request:
        raise RefusalError(("header", KEY), f"was given before with another body, for job {job.id}; take another key.")
    return job
