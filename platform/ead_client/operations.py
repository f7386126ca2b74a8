"""What a service can be asked for, as exchanges: for clients that block and for those that await."""

import uuid
from collections.abc import Mapping
from typing import Any

from ead_client.answers import Molecules
from ead_client.exchange import Ask, Exchange, Wait, answer, as_json

JOBS = "/v1/jobs"
ENDED = ("done", "failed", "cancelled")
LOOK, LOOK_LAST = 0.5, 5.0  # seconds between two looks at a job, at first and later
PAGE = 200  # molecules


def value(ask: Ask, patience: float) -> Exchange:
    """The JSON value of an answer."""
    return as_json((yield from answer(ask, patience)))


def model() -> Ask:
    """What the service's model is."""
    return Ask("GET", "/v1/model")


def estimate(body: Mapping[str, Any]) -> Ask:
    """What a job would cost."""
    return Ask("POST", "/v1/estimate", body)


def predict(molecules: str, kind: str, query: Mapping[str, str]) -> Ask:
    """Properties of a client's own molecules."""
    return Ask("POST", "/v1/predict", {"molecules": molecules, "format": kind}, query=query)


def evaluate(molecules: str, kind: str, query: Mapping[str, str]) -> Ask:
    """The card of a client's own molecules."""
    return Ask("POST", "/v1/evaluate", {"molecules": molecules, "format": kind}, query=query)


def look(job: str) -> Ask:
    """How a job stands."""
    return Ask("GET", f"{JOBS}/{job}")


def cancel(job: str) -> Ask:
    """The end of a job."""
    return Ask("DELETE", f"{JOBS}/{job}")


def molecules(body: Mapping[str, Any], patience: float) -> Exchange:
    """`Molecules` at once."""
    return Molecules.of((yield from value(Ask("POST", "/v1/molecules", body), patience)))


def begin(body: Mapping[str, Any], key: str | None, patience: float) -> Exchange:
    """The description of a job, which is begun once however often it has to be asked for."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return (yield from value(Ask("POST", JOBS, body, headers), patience))


def page(job: str, cursor: str | None, patience: float) -> Exchange:
    """`Molecules` of a job from a place on, and the next place; None at the end."""
    query: dict[str, str | int] = {"limit": PAGE, "format": "json"}
    if cursor:
        query["cursor"] = cursor
    found = yield from value(Ask("GET", f"{JOBS}/{job}/molecules", query=query), patience)
    return Molecules.of(found), found.get("next")


def looks(pause: float) -> Exchange:
    """Wait before the next look at a job; the pause before the one after."""
    yield Wait(pause)
    return min(1.5 * pause, LOOK_LAST)
