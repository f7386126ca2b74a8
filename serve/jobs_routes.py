"""The routes about jobs: what is larger than one answer is asked for here, and fetched later."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator

from ead_core.common.noise import MAX_SEED
from ead_core.data.records import PASSPORT
from serve.answer_schema import Mistakes, Problem
from serve.answers import MEDIA_TYPES, as_json, as_text
from serve.errands import Refused
from serve.fields import Format
from serve.here import Here
from serve.job_pages import GoneError
from serve.job_plan import estimated
from serve.jobs_desk import KEY, LONGEST_KEY, Desk, FullError
from serve.jobs_schema import Estimation, JobDescription, JobList, JobMolecules
from serve.refusals import RefusalError
from serve.replies import busy, failed, problem
from serve.schema import JobRequest

PATH = "/v1/jobs"
RETRY_SECONDS = 30
MOST_JOBS, MOST_MOLECULES = 100, 500  # of one page
GONE = "The molecules of this job have been removed."
CURSOR = Query(description="`next` of the page before; left out, it is the first page.", max_length=20)

router = APIRouter(tags=["jobs"])


def _up_to(most: int, description: str) -> tuple[Any, ...]:
    """A query parameter from 1 to a number."""

    def check(number: int) -> int:
        if not 1 <= number <= most:
            raise ValueError(f"must be between 1 and {most}, not {number}.")
        return number

    schema: Any = {"minimum": 1, "maximum": most}
    return AfterValidator(check), Query(description=description, json_schema_extra=schema)


REFUSED: dict[int | str, dict[str, Any]] = {
    422: {"model": Mistakes, "description": "A value is outside its range."},
    503: {
        "model": Problem,
        "description": "The database of jobs does not answer, or too many jobs are waiting.",
        "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
    },
}
OF_ONE = {**REFUSED, 404: {"model": Problem, "description": "There is no such job."}}
COSTING = {**REFUSED, 504: {"model": Problem, "description": "It was not finished within `limits.max_seconds`."}}
LOCATION = {"headers": {"Location": {"description": "Where the job is told of.", "schema": {"type": "string"}}}}


@router.post(PATH, status_code=202, response_model=JobDescription, responses={202: LOCATION, **REFUSED})
async def take_in(
    request: Request,
    wanted: JobRequest,
    interface: Here,
    key: Annotated[
        str | None,
        Header(
            alias=KEY,
            description=f"A text of the client's, 1 to {LONGEST_KEY} characters: asked again with the same one and the "
            "same body, e.g. since no answer arrived, the answer is the same job.",
        ),
    ] = None,
) -> Response:
    """Have molecules made that are more than one answer takes; they are fetched while it goes on, or later."""
    try:
        job = await asyncio.to_thread(interface.desk.take_in, wanted, key)
    except FullError as error:
        return busy(str(error), RETRY_SECONDS)
    where = f"{request.scope['root_path']}{PATH}/{job.id}"
    return JSONResponse(JobDescription.of(job).model_dump(mode="json"), status_code=202, headers={"Location": where})


@router.post("/v1/estimate", response_model=Estimation, responses=COSTING)
async def estimate(wanted: JobRequest, interface: Here) -> Estimation | Response:
    """What a job would cost, measured on its first molecules, which takes as long as these do; it is not begun."""
    settings, body = await asyncio.to_thread(interface.desk.costing, wanted)
    made = await interface.apart(estimated, settings, body, gpus=settings.job_gpus)
    return failed() if isinstance(made, Refused) else Estimation.model_validate(made.value)


@router.get(PATH, responses=REFUSED)
async def newest(
    interface: Here,
    cursor: Annotated[str | None, CURSOR] = None,
    limit: Annotated[int, *_up_to(MOST_JOBS, "Most jobs of the page.")] = 20,
) -> JobList:
    """The jobs of this service, newest first."""
    before = None if cursor is None else _number(cursor)
    jobs, following = await asyncio.to_thread(interface.desk.newest, limit, before)
    return JobList(jobs=[JobDescription.of(job) for job in jobs], next=following)


@router.get(PATH + "/{job}", response_model=JobDescription, responses=OF_ONE)
async def told(interface: Here, job: str) -> JobDescription | Response:
    """A job, and how far it has come."""
    return JobDescription.of(await asyncio.to_thread(interface.desk.job, job))


@router.delete(PATH + "/{job}", response_model=JobDescription, responses=OF_ONE)
async def cancel(interface: Here, job: str) -> JobDescription | Response:
    """Cancel a job; what is finished of it can still be read. One that has ended stays as it is."""
    return JobDescription.of(await asyncio.to_thread(interface.desk.cancel, job))


@router.get(
    PATH + "/{job}/molecules",
    response_model=JobMolecules,
    responses={
        **OF_ONE,
        200: {
            "description": "Molecules, as JSON or in the text format asked for.",
            "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
            "headers": {
                "X-Next-Cursor": {
                    "description": "`next` of the JSON answer, in every format; left out where that is null.",
                    "schema": {"type": "string"},
                }
            },
        },
        410: {"model": Problem, "description": GONE},
    },
)
async def molecules(
    interface: Here,
    job: str,
    cursor: Annotated[str | None, CURSOR] = None,
    limit: Annotated[int, *_up_to(MOST_MOLECULES, "Most molecules of the page.")] = 100,
    kind: Annotated[Format | None, Query(alias="format", description="Left out, that of the job's body.")] = None,
) -> Response:
    """The molecules of a job that are finished, a page at a time."""
    try:
        return await asyncio.to_thread(_page, interface.desk, job, _number(cursor or "0"), limit, kind)
    except GoneError:
        return problem(410, GONE)


def _page(desk: Desk, name: str, first: int, limit: int, kind: Format | None) -> Response:
    job, found, following = desk.molecules(name, first, limit)
    headers = {"X-Next-Cursor": following} if following else {}
    wanted = kind or JobRequest.model_validate_json(job.request).format
    finite = found.molecules.finite
    whole, lost = found.molecules.select(finite), found.molecules.select(~finite)
    if wanted != "json":
        about = {PASSPORT: found.passport.to_text()} if found.passport else {}
        return Response(as_text(whole, wanted, about), media_type=MEDIA_TYPES[wanted], headers=headers)
    missing = lost.properties["id"].tolist() if len(lost) else []
    model = found.passport.model if found.passport else desk.model
    body = JobMolecules(**dict(as_json(whole, model, missing, passport=found.passport)), next=following)
    return Response(body.model_dump_json(by_alias=True), media_type="application/json", headers=headers)


def _number(cursor: str) -> int:
    """The place that a cursor names (RefusalError: it is none)."""
    if not cursor.isascii() or not cursor.isdigit() or int(cursor) > MAX_SEED:
        raise RefusalError(("query", "cursor"), "must be `next` of an earlier answer.")
    return int(cursor)
