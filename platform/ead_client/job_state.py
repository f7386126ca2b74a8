"""What is known of a job, whoever asks for it: a client that blocks or one that awaits."""

from collections.abc import Mapping
from typing import Any

from ead_client.errors import ServiceError


class JobState:
    """A job as the service described it last.

    Attributes:
        id: with which `open_job` of a client finds it again, from another program, too.
        description: as the service gave it last.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.description, self.id = description, str(description["id"])

    @property
    def state(self) -> str:
        """`queued`, `running`, `done`, `failed` or `cancelled`, at the last look."""
        return str(self.description["state"])

    @property
    def about(self) -> dict[str, Any]:
        """What its molecules come with."""
        return {"ledger": self.description["progress"]["ledger"]}

    def refuse_failure(self) -> None:
        """Raise the ServiceError of a job that has failed."""
        if self.state == "failed":
            raise ServiceError(str(self.description.get("problem")), 500)
