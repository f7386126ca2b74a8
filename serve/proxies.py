"""What Ray Serve's proxies do for the service before and after its replicas: limits, and JSON where Ray has none.

Ray Serve calls `middlewares` in each proxy that starts with `ENVIRONMENT`.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.connections import limit_connections
from serve.reception import Reception
from serve.replies import UNAVAILABLE, busy

RETRY_SECONDS = 5

ENVIRONMENT = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.proxies.middlewares",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # after three failed checks in a row a lost proxy is replaced
}


def middlewares() -> list[Middleware]:
    """The middlewares of a proxy, the outermost last."""
    limit_connections()
    return [Middleware(Reception), Middleware(Apology)]


class Apology:
    """ASGI middleware: 503 in JSON with Retry-After where a replica was lost or none is there.

    Ray Serve leaves a request unanswered then, or answers in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but failures of Ray Serve itself."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        answered = lost = False

        async def watch(message: Message) -> None:
            nonlocal answered, lost
            lost = lost or _is_rays(message)
            answered = answered or not lost
            if not lost:
                await send(message)

        await self._app(scope, receive, watch)
        if not answered:
            await busy(UNAVAILABLE, RETRY_SECONDS)(scope, receive, send)
        return None


def _is_rays(message: Message) -> bool:
    """Whether an answer begins that Ray Serve gives in place of the service, whose failures are JSON."""
    if message["type"] != "http.response.start" or message["status"] < 500:
        return False
    headers: dict[bytes, bytes] = dict(message["headers"])
    return headers.get(b"content-type", b"").startswith(b"text/plain")
