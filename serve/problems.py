"""What a client is told when it gets no molecules: 422, 500 and 503 with JSON bodies."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from serve.limits import RefusalError
from serve.schema import MoleculesRequest, SamplerSettings

FAILED = "The molecules could not be generated; the server's log says why."
_PARTS = ("type", "loc", "msg")


def explain_problems(api: FastAPI) -> None:
    """Register the handlers of everything that can go wrong in `api`."""
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(RefusalError, _on_refusal)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_exception_handler(Exception, _on_failure)


def failed() -> Response:
    """500: nothing the client could do about it."""
    return JSONResponse({"detail": FAILED}, status_code=500)


def busy(sentence: str, seconds: int) -> Response:
    """503 with the seconds after which to try again."""
    return JSONResponse({"detail": sentence}, status_code=503, headers={"Retry-After": str(seconds)})


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _unprocessable({**found, "msg": _sentence(found)} for found in error.errors())


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return _unprocessable([{"type": "value_error", "loc": error.location, "msg": str(error)}])


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != 400:
        return await http_exception_handler(request, error)
    # FastAPI's answer to a body that is no text or nested too deeply
    return _unprocessable([{"type": "json_invalid", "loc": ("body",), "msg": "The body is not readable as JSON."}])


async def _on_failure(_: Request, error: Exception) -> Response:
    return failed()


def _unprocessable(errors: Iterable[Mapping[str, Any]]) -> Response:
    """422 in FastAPI's structure, without an echo of the input: NaN or half a surrogate pair cannot be sent back."""
    detail = [{part: error[part] for part in _PARTS} for error in errors]
    return Response(json.dumps({"detail": detail}), status_code=422, media_type="application/json")


def _sentence(error: Mapping[str, Any]) -> str:
    """Pydantic's message with what it leaves out: the whole range, the known keys, where the JSON breaks."""
    kind, location, message = error["type"], error["loc"], str(error["msg"])
    match kind:
        case "json_invalid":
            return f"{message} at character {location[-1]}: {error['ctx']['error']}"
        case "extra_forbidden":
            known = _properties(SamplerSettings if "sampler" in location[:-1] else MoleculesRequest)
            return f"Unknown key; known are {', '.join(known)}"
        case "model_attributes_type" | "model_type" if location == ("body",):
            return "The body must be a JSON object, sent with the header Content-Type: application/json"
    named_freely = "targets" in location[:-1]  # a property may have the name of a field
    return message.removeprefix("Value error, ") + ("" if named_freely else _range(location[-1]))


def _range(key: object) -> str:
    """The accepted range of a field of a request, where it has one."""
    field: dict[str, Any] = {**_properties(MoleculesRequest), **_properties(SamplerSettings)}.get(key, {})
    for kind in field.get("anyOf", [field]):
        if "minimum" in kind and "maximum" in kind:
            return f"; accepted are {kind['minimum']} to {kind['maximum']}"
    return ""


def _properties(model: type[MoleculesRequest] | type[SamplerSettings]) -> dict[Any, dict[str, Any]]:
    properties: dict[Any, dict[str, Any]] = model.model_json_schema()["properties"]
    return properties
