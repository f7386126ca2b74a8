"""Answers about jobs, as they stand in the OpenAPI document."""

import json
from datetime import UTC, datetime
from typing import Any

from ead_platform.generation.estimate import Estimate
from pydantic import BaseModel, ConfigDict, Field

from ead_core.common.cpu import processor
from serve.answer_schema import Molecules
from serve.job_progress import Progress, StoredProgress
from serve.jobs_store import Job, State

EXAMPLE: dict[str, Any] = {
    "id": "0b1f5c3ad0e84f3f9a7c2f6f5f0d9e11",
    "state": "running",
    "created": "2026-11-30T21:04:06Z",
    "started": "2026-11-30T21:04:07Z",
    "ended": None,
    "request": {"num": 1000, "seed": 0, "preset": "fast"},
    "progress": {
        "delivered": 256,
        "attempts": 320,
        "max_attempts": 1000,
        "rate": 1.6,
        "seconds_left": 425.0,
        "ledger": None,
    },
    "problem": None,
}
CURSOR = "To give as `cursor` for what follows; null if nothing will."


class JobDescription(BaseModel):
    """A job, and how far it has come."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str
    state: State = Field(
        description="`queued` (also after a restart, until it is taken up again), `running`, or how it has ended: "
        "`done`, `failed` or `cancelled`."
    )
    created: datetime
    started: datetime | None = Field(description="When it was begun first.")
    ended: datetime | None
    request: dict[str, Any] = Field(description="The body that asked for it.")
    progress: Progress
    problem: str | None = Field(description="Why it has failed; null if it has not.")

    @classmethod
    def of(cls, job: Job) -> "JobDescription":
        """What clients may know of a stored job."""
        progress = progress_of_stored(job)
        if job.state != "running":
            progress = progress.model_copy(update={"rate": None, "seconds_left": None})
        return cls(
            id=job.id,
            state=job.state,
            created=_moment(job.created),
            started=job.started and _moment(job.started),
            ended=job.ended and _moment(job.ended),
            request=json.loads(job.request),
            progress=Progress(**progress.model_dump()),
            problem=job.problem,
        )


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobDescription]
    next: str | None = Field(description=CURSOR)


class JobMolecules(Molecules):
    """Molecules of a job that are finished, in the order of their ids, with `match` in that of the rows of `targets`.

    What has been answered once stays as it is, however often the job is interrupted.
    """

    next: str | None = Field(description=f"{CURSOR} While the job goes on there may be nothing new yet: ask again.")


class Range(BaseModel):
    """A number that is estimated, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Estimation(BaseModel):
    """What a job will cost, measured on its first molecules."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "measured_on": 32,
                    "kept": 28,
                    "made_on": "AMD EPYC 9654",
                    "attempts": {"value": 571.0, "low": 515.0, "high": 700.0},
                    "molecules": 500.0,
                    "network_calls": 16000.0,
                    "seconds": 360.0,
                    "bytes": 310000.0,
                }
            ]
        }
    )

    measured_on: int = Field(description="Attempts that were made for it.")
    kept: int = Field(description="How many of them would be delivered.")
    made_on: str = Field(description="The processor.")
    attempts: Range
    molecules: float = Field(description="How many will be delivered.")
    network_calls: float
    seconds: float = Field(description="From its beginning, if nothing else is done; a job may have to wait before.")
    bytes: float = Field(description="Of its files.")

    @classmethod
    def of(cls, found: Estimate, processes: int) -> "Estimation":
        """What was measured, for a job of so many processes."""
        middle, low, high = found.needed
        return cls(
            measured_on=found.probe,
            kept=found.accepted,
            made_on=processor(),
            attempts=Range(value=middle, low=low, high=high),
            molecules=found.molecules,
            network_calls=middle * found.calls,
            seconds=middle * found.seconds / processes,
            bytes=found.molecules * found.size,
        )


def progress_of_stored(job: Job) -> StoredProgress:
    """How far a job has come."""
    return StoredProgress.model_validate_json(job.progress) if job.progress else StoredProgress()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
