"""Short JSON answers of a status and a sentence; without the science, so that Ray Serve's proxies can give them too."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

FAILED = "The molecules could not be generated; the server's log says why."
UNAVAILABLE = "The service is not available."


class AnswerError(Exception):
    """Instead of what was asked for, an answer that says why there is none."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Why there is no answer."""
    return JSONResponse({"detail": sentence}, status_code=status, headers=dict(headers or {}))


def failed() -> Response:
    """500: nothing the client could do about it."""
    return problem(500, FAILED)


def busy(sentence: str, seconds: int) -> Response:
    """503 with the seconds after which to try again."""
    return problem(503, sentence, {"Retry-After": str(seconds)})
