"""The service as an ASGI application with its model in the same process: no server, no Ray."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from ray import serve

from serve.app import Api, api
from serve.errands import outcome
from serve.model import Sampling

JSON = [(b"content-type", b"application/json")]


class Handle:
    """What Ray Serve gives the interface of its model, without Ray."""

    def __init__(self, sampling):
        self.generate, self.deliver = Method(sampling.generate), Method(sampling.deliver)
        self.match = Method(sampling.match)


class BackgroundHandle:
    """What Ray Serve gives the interface of its background: errands are done here, jobs by whoever asks for it."""

    @staticmethod
    async def _apart(errand, *given, gpus=0):
        return await asyncio.to_thread(outcome, errand, *given)

    def __init__(self, apart=None):
        self.apart = Method(apart or self._apart)


class Method:
    def __init__(self, call):
        self._call = call

    def remote(self, *given, **named):
        return asyncio.ensure_future(self._call(*given, **named))


class Answer:
    def __init__(self, sent):
        self.status = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in sent[1:])

    def json(self):
        return json.loads(self.body, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


async def ask(app, path, body=None, parts=None, method="POST", client="192.0.2.1", headers=JSON):
    """An answer of an ASGI application; `parts` are awaitables or bytes that arrive one after the other."""
    path, _, query = path.partition("?")
    arriving = list(parts if parts is not None else [body] if body is not None else [])
    headers = [*headers, (b"content-length", str(len(body)).encode())] if body is not None else headers
    headers = [*headers, (b"transfer-encoding", b"chunked")] if parts is not None else headers
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "root_path": ""}
    scope["query_string"] = query.encode()
    sent = []

    async def receive():
        if not arriving:
            await asyncio.Event().wait()
        part = arriving.pop(0)
        part = part if isinstance(part, bytes) else await part
        return {"type": "http.request", "body": part, "more_body": bool(arriving)}

    async def send(message):
        sent.append(message)

    await app({**scope, "client": (client, 1)}, receive, send)
    return Answer(sent)


@asynccontextmanager
async def service(settings, sampling=Sampling, apart=None):
    model = Handle(sampling(settings))
    interface = Api.__base__(model, BackgroundHandle(apart), settings)  # the class without what Ray Serve adds to it
    with pytest.MonkeyPatch.context() as patch:  # by this the routes find their instance in a replica
        patch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=interface))
        yield api


def served(settings, *bodies, sampling=Sampling):
    """Answers to molecules asked for at once."""

    async def run():
        async with service(settings, sampling) as app:
            encoded = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
            return await asyncio.gather(*(ask(app, "/v1/molecules", body) for body in encoded))

    return asyncio.run(run())
