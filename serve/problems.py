"""Answers to mistakes of a client: 422 with FastAPI's structure, small and quickly made."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from serve.fields import MOST_PROBLEMS, SamplerSettings
from serve.jobs_desk import UnknownJobError
from serve.jobs_store import StoreError
from serve.own_schema import OwnMolecules
from serve.refusals import RefusalError
from serve.replies import AnswerError, busy, failed, problem

logger = logging.getLogger("ray.serve")

RETRY_SECONDS = 5  # until a database may answer again
LONGEST_SENTENCE, LONGEST_KEY = 600, 60  # characters
LARGEST_ANSWER = 9_000  # bytes


def explain_problems(api: FastAPI) -> None:
    """Register the handlers of everything that can go wrong in `api`."""
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(RefusalError, _on_refusal)
    api.add_exception_handler(AnswerError, _on_answer)
    api.add_exception_handler(UnknownJobError, _on_unknown)
    api.add_exception_handler(StoreError, _on_lost_store)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_exception_handler(Exception, _on_failure)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    expected = getattr(request.scope.get("route"), "body_field", None)
    body = expected.field_info.annotation if expected else OwnMolecules
    return _unprocessable(_explained(error.errors(), body))


def _explained(errors: Iterable[Mapping[str, Any]], body: type[BaseModel]) -> Iterator[Mapping[str, Any]]:
    """Errors in a body with our sentences; the known keys are listed once."""
    lists: set[str] = set()
    for error in errors:
        sentence, semicolon, known = _sentence(error, body).partition("; known are ")
        yield {**error, "msg": sentence if known in lists else f"{sentence}{semicolon}{known}"}
        lists |= {known} - {""}


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return _unprocessable([{"type": "value_error", "loc": error.location, "msg": str(error)}])


async def _on_answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, AnswerError)
    return error.answer


async def _on_unknown(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


async def _on_lost_store(_: Request, error: Exception) -> Response:
    logger.error("%s", error)  # with the address, which is not for clients
    return busy("The database of jobs does not answer.", RETRY_SECONDS)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != 400:
        return await http_exception_handler(request, error)
    # FastAPI's answer to a body that is no text or nested too deeply
    return _unprocessable([{"type": "json_invalid", "loc": ("body",), "msg": "The body is not readable as JSON."}])


async def _on_failure(_: Request, error: Exception) -> Response:
    return failed()


def _unprocessable(errors: Iterable[Mapping[str, Any]]) -> Response:
    """422 with the first errors, without an echo of the input: NaN or half a surrogate pair cannot be sent back."""
    entries: list[str] = []
    for error in islice(errors, MOST_PROBLEMS):
        location = [_cut(part, LONGEST_KEY) if isinstance(part, str) else part for part in error["loc"]]
        text = json.dumps({"type": error["type"], "loc": location, "msg": _cut(error["msg"], LONGEST_SENTENCE)})
        if entries and sum(map(len, entries)) + len(text) > LARGEST_ANSWER:
            break
        entries.append(text)
    return Response(f'{{"detail": [{", ".join(entries)}]}}', status_code=422, media_type="application/json")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _sentence(error: Mapping[str, Any], body: type[BaseModel]) -> str:
    """Pydantic's message with what it leaves out: the whole range, the known keys, where the JSON breaks."""
    kind, location, message = error["type"], error["loc"], str(error["msg"])
    match kind:
        case "json_invalid":
            return f"{message} at character {location[-1]}: {error['ctx']['error']}"
        case "extra_forbidden":
            known = _properties(SamplerSettings if "sampler" in location[:-1] else body)
            return f"Unknown key; known are {', '.join(known)}"
        case "model_attributes_type" | "model_type" if location == ("body",):
            return "The body must be a JSON object, sent with the header Content-Type: application/json"
    named_freely = "targets" in location[:-1]  # a property may have the name of a field
    return message.removeprefix("Value error, ") + ("" if named_freely else _range(location[-1], body))


def _range(key: object, body: type[BaseModel]) -> str:
    """The accepted range of a field of a body, where it has one."""
    field: dict[str, Any] = _properties(body).get(key) or _properties(SamplerSettings).get(key, {})
    for kind in field.get("anyOf", [field]):
        if "minimum" in kind and "maximum" in kind:
            return f"; accepted are {kind['minimum']} to {kind['maximum']}"
    return ""


@cache
def _properties(model: type[BaseModel]) -> dict[Any, dict[str, Any]]:
    properties: dict[Any, dict[str, Any]] = model.model_json_schema()["properties"]
    return properties
