"""Limits for connections to Ray Serve's proxies, whose server has none: headers, time, and places for the silent."""

import asyncio
import json
import socket
from asyncio import TimerHandle
from http import HTTPStatus

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.places import Places
from serve.reception import READ_SECONDS, TOO_SLOW

LARGEST_HEAD = 16_384  # bytes of the request line and the headers
SILENT, SILENT_PER_CLIENT = 1000, 256  # connections that wait for their client, between requests included
TAKE_SECONDS = 30  # for a client to take what is sent to it
TOO_MUCH = f"The request line and the headers must have at most {LARGEST_HEAD} bytes together."
UNREADABLE = "This is no request in HTTP/1.1."


class LimitedProtocol(HttpToolsProtocol):
    """A connection that must bring each request whole within a time, and its head within a size.

    While it waits for its client it has a place among `silent`; a client that opens more loses the oldest of its own.
    """

    silent: Places["LimitedProtocol"] = Places(SILENT, SILENT_PER_CLIENT)
    read_seconds = READ_SECONDS

    _patience: TimerHandle | None = None
    _in_head, _head = True, 0  # whether the head is arriving, and how many bytes of it have
    _heard = False  # anything since the last response
    _closed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, and wait for the first request."""
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        if own is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # elsewhere the system's own limit counts
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * TAKE_SECONDS)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head grows beyond its size."""
        if self._closed:
            return
        if self._patience is None and self._between_requests:
            self._wait()
        self._heard = True
        self._head += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head > LARGEST_HEAD:
            self._refuse(431, TOO_MUCH)

    def on_message_begin(self) -> None:
        """A request begins, perhaps after others on this connection."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come after the body, are not expected."""
        if not self._in_head:
            raise ValueError  # which ends the parsing
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large although it arrived in one piece."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._in_head, self._head = False, 0
        if size > LARGEST_HEAD:
            self._refuse(431, TOO_MUCH)
            raise ValueError  # which ends the parsing
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The client has done its part."""
        if not self.pipeline:
            self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, for as long as the server keeps connections alive."""
        super().on_response_complete()
        self._heard = False
        if not self.transport.is_closing() and self._between_requests:
            self._take_place()

    def handle_websocket_upgrade(self) -> None:
        """There are no WebSockets here, and their connections would escape the limits."""
        self._refuse(400, UNREADABLE)

    def send_400_response(self, msg: str) -> None:
        """In JSON, and not after another refusal."""
        self._refuse(400, UNREADABLE)

    @property
    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _client(self) -> str:
        return self.client[0] if self.client else ""

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.read_seconds, self._refuse, 408, TOO_SLOW)
        self._take_place()

    def _take_place(self) -> None:
        self.silent.leave(self._client, self)  # a newcomer's place is safer
        loser = self.silent.take(self._client, self)
        if loser is not None:
            loser._refuse(408, TOO_SLOW)

    def _stop_waiting(self) -> None:
        self.silent.leave(self._client, self)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: int, sentence: str) -> None:
        """Close, and say why to a client that has begun a request and got no answer yet."""
        self._stop_waiting()
        if self._closed or self.transport.is_closing():
            return
        self._closed = True
        if self._heard and (self._between_requests or not self.cycle.response_started):
            self.transport.write(_response(status, sentence))
        self.transport.close()


def _response(status: int, sentence: str) -> bytes:
    body = json.dumps({"detail": sentence}).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def limit_connections() -> None:
    """Make uvicorn's servers of this process use `LimitedProtocol`.

    Ray Serve makes the server of its proxies itself and hands on no protocol, so ours takes the place of the default.
    """
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{LimitedProtocol.__name__}"
