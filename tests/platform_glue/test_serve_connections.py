"""What Ray Serve's proxies do for the service, on a real server without Ray: limits, and JSON for failures."""

import http.client
import json
import socket
import threading
import time
from contextlib import suppress

import pytest
import uvicorn
from uvicorn.config import HTTP_PROTOCOLS

from ead_core.errors import EADError
from serve.__main__ import OPEN, _reach, require_free
from serve.connections import LARGEST_HEAD, TOO_MUCH, LimitedProtocol, limit_connections
from serve.places import Places
from serve.proxies import Apology, middlewares
from serve.reception import TOO_SLOW
from serve.replies import UNAVAILABLE

READ_SECONDS = 0.6
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def echo(scope, receive, send):
    """Answers with the body of a request; a path says which failure of Ray Serve to imitate."""
    message = await receive()
    if scope["path"] == "/lost":
        return
    status, kind = (500, b"text/plain") if scope["path"] == "/plain" else (200, b"application/json")
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": message.get("body", b"") or b"{}"})


@pytest.fixture
def server(monkeypatch):
    """A server as a proxy starts it, with less patience and fewer places."""
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    monkeypatch.setattr(LimitedProtocol, "read_seconds", READ_SECONDS)
    monkeypatch.setattr(LimitedProtocol, "silent", Places(40, 30))
    app = echo
    for middleware in middlewares():
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="critical", timeout_keep_alive=1)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join(10)


class Client:
    def __init__(self, port, sent=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.send(sent)

    def send(self, data):
        with suppress(OSError):
            self.socket.sendall(data)

    def rest(self):
        """All that the server says until it closes; None if it does not."""
        said = b""
        try:
            while part := self.socket.recv(65_536):
                said += part
        except TimeoutError:
            return None
        except OSError:
            pass
        self.socket.close()
        return said


def answer(port, path="/", body=b"{}"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def assert_refused(said, status, sentence):
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head.lower()
    assert json.loads(body) == {"detail": sentence}


@pytest.mark.parametrize("begun", [GET, POST + b"ab", b"\r\n", b"PO"], ids=["head", "body", "line end", "word"])
def test_a_request_that_does_not_arrive_in_time_is_given_up(server, begun):
    start = time.monotonic()
    assert_refused(Client(server, begun).rest(), 408, TOO_SLOW)
    assert time.monotonic() - start < READ_SECONDS + 3


def test_a_connection_that_says_nothing_is_closed(server):
    assert Client(server).rest() == b""


@pytest.mark.parametrize("begun", [GET, POST], ids=["head", "body"])
def test_a_byte_now_and_then_gains_no_time(server, begun):
    client, start = Client(server, begun), time.monotonic()
    while time.monotonic() - start < 2 * READ_SECONDS:
        client.send(b"x")
        time.sleep(0.05)
    assert_refused(client.rest(), 408, TOO_SLOW)


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"a" * LARGEST_HEAD + b"\r\n\r\n",
        GET + b"X: " + b"a" * 20_000_000,
        GET + b"X: a\r\n" * LARGEST_HEAD,
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["in one piece", "20 MB", "many", "path"],
)
def test_a_head_that_is_too_large_is_refused(server, head):
    said = Client(server, head).rest()
    if said:  # a client that goes on sending may be cut off before it can read
        assert_refused(said, 431, TOO_MUCH)
    assert answer(server)[0].status == 200


def test_heads_and_requests_within_the_limits_are_served_one_after_the_other(server):
    request = GET + b"X: " + b"a" * (LARGEST_HEAD - 200) + b"\r\n"
    client = Client(server, request + b"\r\n")
    assert b" 200 OK" in client.socket.recv(65_536)
    client.send(request + b"Connection: close\r\n\r\n")
    assert b" 200 OK" in client.rest()


def test_idle_connections_end(server):
    client, start = Client(server, GET + b"\r\n"), time.monotonic()
    assert b" 200 OK" in client.rest()
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    "odd",
    [
        GET
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: trailer\r\n\r\n",
    ],
    ids=["websocket", "TLS", "no header", "trailer"],
)
def test_what_is_no_request_is_refused_in_json(server, odd):
    said = Client(server, odd).rest()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert set(json.loads(said.partition(b"\r\n\r\n")[2])) == {"detail"}


@pytest.mark.parametrize("begun", [b"", GET, POST], ids=["silent", "head", "body"])
def test_unfinished_connections_keep_nobody_waiting(server, begun, monkeypatch):
    monkeypatch.setattr(LimitedProtocol, "read_seconds", 60)
    rough = [Client(server, begun) for _ in range(100)]
    start = time.monotonic()
    assert [answer(server)[0].status for _ in range(20)] == [200] * 20
    assert time.monotonic() - start < 5
    oldest = rough[0].rest()
    assert oldest == b"" if not begun else oldest.startswith(b"HTTP/1.1 408 ")
    assert len(LimitedProtocol.silent) <= 30
    for client in rough:
        client.socket.close()


def test_the_places_of_many_clients_are_taken_from_the_one_with_the_most():
    places = Places(5, 3)
    assert [places.take("a", number) for number in (1, 2, 3)] == [None] * 3
    assert places.take("a", 4) == 1
    assert places.take("b", 5) is None
    assert places.take("c", 6) is None
    assert places.take("d", 7) == 2
    places.leave("b", 5)
    places.leave("b", 5)
    assert len(places) == 4
    assert places.take("b", 5) is None


@pytest.mark.parametrize("path", ["/lost", "/plain"])
def test_a_lost_replica_is_told_in_json_with_a_time_to_wait(server, path):
    response, body = answer(server, path)
    assert response.status == 503
    assert int(response.getheader("retry-after")) >= 1
    assert json.loads(body) == {"detail": UNAVAILABLE}


def test_the_limits_are_where_the_server_looks_for_its_protocol(monkeypatch):
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", "elsewhere")
    limit_connections()
    config = uvicorn.Config(echo)
    config.load()
    assert config.http_protocol_class is LimitedProtocol
    assert [middleware.cls for middleware in middlewares()][-1] is Apology


def test_a_taken_port_is_told_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EADError, match=rf"cannot listen at 127\.0\.0\.1:{port} \(Address already in use\); give"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
    with pytest.raises(EADError, match=r"cannot listen at 203\.0\.113\.7:"):
        require_free("203.0.113.7", port)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("lab", False)],
)
def test_who_reaches_the_service_is_told(host, local):
    assert (_reach(host) == OPEN) != local
