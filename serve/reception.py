"""Bodies of requests are read whole, within limits, before anything else handles the request."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.places import Places
from serve.replies import problem

LARGEST_BODY = 100_000  # bytes
LARGEST_FILE = 500_000  # bytes of a body of a client's own molecules
FILES = ("/v1/predict", "/v1/evaluate")  # where such are sent
READ_SECONDS = 10.0  # for a whole request to arrive
UNFINISHED, UNFINISHED_PER_CLIENT = 512, 256  # bodies that are still arriving

TOO_LARGE = "The body must have at most {} bytes."
TOO_SLOW = "The request did not arrive in time."
_CLOSE = {"Connection": "close"}  # since the rest of the body is not read


class Reception:
    """ASGI middleware that hands on requests whose bodies have arrived; the others get 408 or 413.

    Args:
        app: what it stands in front of.
        seconds: in which a body must arrive.
        places: for bodies that are arriving.
    """

    def __init__(self, app: ASGIApp, seconds: float = READ_SECONDS, places: Places[asyncio.Timeout] | None = None):
        self._app, self._seconds = app, seconds
        self._places = places or Places(UNFINISHED, UNFINISHED_PER_CLIENT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then let the application answer."""
        size = _announced(scope) if scope["type"] == "http" else 0
        if not size:
            return await self._app(scope, receive, send)
        largest = LARGEST_FILE if scope["path"].endswith(FILES) else LARGEST_BODY
        try:
            body = await self._read(scope, receive, largest) if size <= largest else None
        except TimeoutError:
            return await problem(408, TOO_SLOW, _CLOSE)(scope, receive, send)
        except ConnectionError:
            return None
        if body is None:
            return await problem(413, TOO_LARGE.format(largest), _CLOSE)(scope, receive, send)
        return await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive, largest: int) -> bytes | None:
        """The body, or None if it is too large."""
        client = (scope.get("client") or ("",))[0]
        async with asyncio.timeout(self._seconds) as patience:
            loser = self._places.take(client, patience)
            if loser is not None and not loser.expired():
                loser.reschedule(0)
            try:
                return await _whole(receive, largest)
            finally:
                self._places.leave(client, patience)


def _announced(scope: Scope) -> int:
    """Bytes of the body that the headers announce, 1 if they do not say how many."""
    sent = dict(scope["headers"])
    if b"transfer-encoding" in sent:
        return 1
    length = sent.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 1


async def _whole(receive: Receive, largest: int) -> bytes | None:
    """The body, or None if it is too large (ConnectionError if the client goes away)."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > largest:
            return None
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` of a request whose body has been read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
