"""What routes outside of the class of the interface find of it."""

from collections.abc import Callable
from typing import Annotated, Any, Protocol, cast

from fastapi import Depends
from ray import serve

from serve.errands import Made, Refused
from serve.jobs_desk import Desk


class Interface(Protocol):
    """The interface of a replica, as routes know it.

    Attributes:
        desk: takes jobs in.
    """

    desk: Desk

    async def apart(self, errand: Callable[..., Any], *given: Any, gpus: float = 0) -> Made | Refused:
        """Have an errand done in a process of its own (AnswerError: the service is busy, or too late)."""


def _here() -> Interface:
    return cast(Interface, serve.get_replica_context().servable_object)


Here = Annotated[Interface, Depends(_here)]
