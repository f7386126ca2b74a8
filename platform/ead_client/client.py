"""The client that blocks."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from ead_client import operations
from ead_client.answers import Molecule, Molecules
from ead_client.exchange import Ask, Exchange, Outcome, Wait
from ead_client.job_state import JobState
from ead_client.progress import job_bar
from ead_client.settings import body_of, options


class Client:
    """Asks a service for molecules, and asks again while it is busy or away.

    Args:
        address: of the service.
        key: sent as `Authorization: Bearer`, for a service, or a server before it, that demands one.
        patience: seconds that may be waited in all for a service that is busy or away.
        timeout: seconds that an answer may take once it is being made.
        transport: of httpx, for tests and special connections.

    Raises:
        ClientError: an address that is none.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        patience: float = 120,
        timeout: float = 900,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx.Client(**options(address, key, timeout), transport=transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    def molecules(self, num: int | None = None, **body: Any) -> Molecules:
        """Molecules at once; `body` as of `POST /v1/molecules`: seed, targets, accept, until, preset, sampler, ….

        Raises:
            RefusedError: a value outside what is accepted.
            ServiceError: the service failed, or the molecules were not finished in time.
            UnreachableError: nothing answered, or all was busy, for too long.
        """
        found: Molecules = self.run(operations.molecules(body_of(num, body), self._patience))
        return found

    def job(self, num: int | None = None, *, idempotency_key: str | None = None, **body: Any) -> "Job":
        """Have more molecules made than one answer takes (errors as of `molecules`).

        Args:
            num: how many.
            idempotency_key: the same one gives the same job; a new one by itself.
            body: as of `POST /v1/jobs`.
        """
        begun = operations.begin(body_of(num, body), idempotency_key, self._patience)
        return Job(self, self.run(begun))

    def open_job(self, number: str) -> "Job":
        """A job that was begun before (RefusedError: there is none)."""
        return Job(self, self.value(operations.look(number)))

    def model(self) -> Mapping[str, Any]:
        """What the service's model is, what can be asked of it, and its measured quality."""
        return self.value(operations.model())

    def estimate(self, num: int | None = None, **body: Any) -> Mapping[str, Any]:
        """What a job would cost, which is not begun."""
        return self.value(operations.estimate(body_of(num, body)))

    def predict(self, molecules: str, kind: str = "sdf", **query: str) -> Mapping[str, Any]:
        """Properties of your own molecules, with intervals; `molecules` is the text of a file of this kind."""
        return self.value(operations.predict(molecules, kind, query))

    def evaluate(self, molecules: str, kind: str = "sdf", **query: str) -> Mapping[str, Any]:
        """The card of your own molecules."""
        return self.value(operations.evaluate(molecules, kind, query))

    def value(self, ask: Ask) -> Mapping[str, Any]:
        """The JSON value of an answer."""
        found: Mapping[str, Any] = self.run(operations.value(ask, self._patience))
        return found

    def run(self, exchange: Exchange) -> Any:
        """What an exchange returns, with this client's connections."""
        outcome: Outcome = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self._sent(step)

    def _sent(self, ask: Ask) -> Outcome:
        try:
            return self._http.request(
                ask.method, ask.path, json=ask.body, headers=dict(ask.headers), params=dict(ask.query)
            )
        except httpx.TransportError as error:
            return error

    def page(self, job: str, cursor: str | None) -> tuple[Molecules, str | None]:
        """Molecules of a job from a place on, and the next place."""
        found: tuple[Molecules, str | None] = self.run(operations.page(job, cursor, self._patience))
        return found


class Job(JobState):
    """Molecules that are made while this program does other things."""

    def __init__(self, client: Client, description: Mapping[str, Any]) -> None:
        super().__init__(description)
        self._client = client

    def look(self) -> Mapping[str, Any]:
        """The description, asked for anew: state and progress."""
        self.description = self._client.value(operations.look(self.id))
        return self.description

    def cancel(self) -> None:
        """Ask for its end; what is finished can still be read."""
        self.description = self._client.value(operations.cancel(self.id))

    def wait(self, *, progress: bool = False) -> "Job":
        """Wait until it has ended (ServiceError: it has failed); `progress` shows a bar, which needs rich."""
        pause = operations.LOOK
        with job_bar(progress) as show:
            while show(self.look()) not in operations.ENDED:
                pause = self._client.run(operations.looks(pause))
        self.refuse_failure()
        return self

    def molecules(self, *, wait: bool = True) -> Iterator[Molecule]:
        """Its molecules in their order, as they are finished.

        Args:
            wait: for those that are not finished yet; else those that are.

        Raises:
            ServiceError: it has failed; those that were finished have been yielded.
        """
        cursor, pause = None, operations.LOOK
        while True:
            found, cursor = self._client.page(self.id, cursor)
            yield from found
            if cursor is None or not (found or wait):
                break
            pause = operations.LOOK if found else self._client.run(operations.looks(pause))
        if wait:
            self.look()
            self.refuse_failure()

    def result(self, *, progress: bool = False) -> Molecules:
        """All its molecules, when it has ended (ServiceError: it has failed)."""
        self.wait(progress=progress)
        return Molecules(list(self.molecules()), self.about)
