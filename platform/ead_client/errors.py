"""What can go wrong between a client and a service, each with a sentence that says what to do."""

from collections.abc import Sequence


class ClientError(Exception):
    """Any of the errors of this package."""


class RefusedError(ClientError):
    """The service does not accept a request as it is; asking again changes nothing.

    Attributes:
        status: of HTTP, 400 to 499.
        places: where in the request its mistakes are, in the order of the sentence: `("body", "num")`.
    """

    def __init__(self, sentence: str, status: int, places: Sequence[tuple[str | int, ...]] = ()) -> None:
        super().__init__(sentence)
        self.status, self.places = status, tuple(places)


class ServiceError(ClientError):
    """The service failed, or did not finish in time.

    Attributes:
        status: of HTTP, 500 and above.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class UnreachableError(ClientError):
    """Nothing answered, or the service was busy, for as long as the client has patience."""
