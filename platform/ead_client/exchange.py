"""Asking a service, and asking it again: the protocol without input and output.

An exchange is a generator. It yields what is to be done, a request to be sent or seconds to be waited, is sent what
came of it, and returns the answer. So the rules of patience are written once, for clients that block and that await.
"""

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ead_client.errors import ClientError, RefusedError, ServiceError, UnreachableError

BUSY = (429, 502, 503)  # the service, or a server before it, says: later
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two tries, if the service does not say how long


@dataclass(frozen=True)
class Ask:
    """A request to be sent; what comes of it is a response, or the error of httpx why there is none.

    Attributes:
        method, path: of HTTP.
        body: of JSON; None for none.
        headers, query: of the request.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """Seconds to be waited; what comes of it is None."""

    seconds: float


Outcome = httpx.Response | httpx.TransportError | None
Exchange = Generator[Ask | Wait, Outcome, Any]


def answer(ask: Ask, patience: float) -> Generator[Ask | Wait, Outcome, httpx.Response]:
    """The answer to a request, which is asked again as long as nothing is there or all is busy.

    A request must be one that may be sent twice: molecules are a function of the body, and jobs have a key.

    Args:
        ask: the request.
        patience: seconds that may be waited in all between tries.

    Raises:
        RefusedError: the request is not accepted as it is.
        ServiceError: the service failed.
        UnreachableError: patience has ended.
    """
    waited, pause = 0.0, FIRST_PAUSE
    while True:
        outcome = yield ask
        if isinstance(outcome, httpx.Response) and outcome.status_code not in BUSY:
            return _checked(outcome)
        if isinstance(outcome, httpx.ReadTimeout):
            raise UnreachableError("The service has taken the request and not answered in time (`timeout`).")
        seconds = _asked_to_wait(outcome) or pause * random.uniform(0.5, 1)
        if waited + seconds > patience:
            raise UnreachableError(f"{_why(outcome)} It was tried for {waited:.0f} s.")
        yield Wait(seconds)
        waited, pause = waited + seconds, min(2 * pause, LONGEST_PAUSE)


def _checked(response: httpx.Response) -> httpx.Response:
    """The answer, if it is one."""
    if response.is_success:
        return response
    sentence, places = _said(response)
    if response.status_code < 500:
        raise RefusedError(sentence, response.status_code, places)
    raise ServiceError(sentence, response.status_code)


def _said(response: httpx.Response) -> tuple[str, list[tuple[str | int, ...]]]:
    """The sentence of a problem, and the places of its mistakes."""
    try:
        found = response.json()
        detail = found["detail"]
        if isinstance(detail, str):
            return detail, []
        places = [tuple(mistake["loc"]) for mistake in detail]
        named = (f"{'.'.join(map(str, place[1:]))}: {each['msg']}" for place, each in zip(places, detail, strict=True))
        return "; ".join(named), places
    except (ValueError, KeyError, TypeError):
        return f"The answer was {response.status_code} {response.reason_phrase}.", []


def _asked_to_wait(outcome: Outcome) -> float | None:
    """Seconds of `Retry-After`, if it says some."""
    text = outcome.headers.get("Retry-After", "") if isinstance(outcome, httpx.Response) else ""
    return float(text) if text.isdecimal() and int(text) else None


def _why(outcome: Outcome) -> str:
    if isinstance(outcome, httpx.Response):
        return _said(outcome)[0]
    return f"The service cannot be reached ({outcome})."


def as_json(response: httpx.Response) -> Any:
    """The value of an answer (ClientError: it is no JSON, so that no service of EAD has answered)."""
    try:
        return response.json()
    except ValueError as error:
        raise ClientError(f"{response.url} does not answer as a service of EAD; is the address right?") from error
