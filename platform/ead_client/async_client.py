"""The client that awaits: the methods of `Client`, each a coroutine."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from ead_client import operations
from ead_client.answers import Molecule, Molecules
from ead_client.exchange import Ask, Exchange, Outcome, Wait
from ead_client.job_state import JobState
from ead_client.progress import job_bar
from ead_client.settings import body_of, options


class AsyncClient:
    """Asks a service for molecules without blocking; arguments and errors as of `Client`."""

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        patience: float = 120,
        timeout: float = 900,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx.AsyncClient(**options(address, key, timeout), transport=transport)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()

    async def molecules(self, num: int | None = None, **body: Any) -> Molecules:
        """Molecules at once."""
        found: Molecules = await self.run(operations.molecules(body_of(num, body), self._patience))
        return found

    async def job(self, num: int | None = None, *, idempotency_key: str | None = None, **body: Any) -> "AsyncJob":
        """Have more molecules made than one answer takes."""
        begun = operations.begin(body_of(num, body), idempotency_key, self._patience)
        return AsyncJob(self, await self.run(begun))

    async def open_job(self, number: str) -> "AsyncJob":
        """A job that was begun before."""
        return AsyncJob(self, await self.value(operations.look(number)))

    async def model(self) -> Mapping[str, Any]:
        """What the service's model is, what can be asked of it, and its measured quality."""
        return await self.value(operations.model())

    async def estimate(self, num: int | None = None, **body: Any) -> Mapping[str, Any]:
        """What a job would cost, which is not begun."""
        return await self.value(operations.estimate(body_of(num, body)))

    async def predict(self, molecules: str, kind: str = "sdf", **query: str) -> Mapping[str, Any]:
        """Properties of your own molecules, with intervals."""
        return await self.value(operations.predict(molecules, kind, query))

    async def evaluate(self, molecules: str, kind: str = "sdf", **query: str) -> Mapping[str, Any]:
        """The card of your own molecules."""
        return await self.value(operations.evaluate(molecules, kind, query))

    async def value(self, ask: Ask) -> Mapping[str, Any]:
        """The JSON value of an answer."""
        found: Mapping[str, Any] = await self.run(operations.value(ask, self._patience))
        return found

    async def run(self, exchange: Exchange) -> Any:
        """What an exchange returns, with this client's connections."""
        outcome: Outcome = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._sent(step)

    async def _sent(self, ask: Ask) -> Outcome:
        try:
            return await self._http.request(
                ask.method, ask.path, json=ask.body, headers=dict(ask.headers), params=dict(ask.query)
            )
        except httpx.TransportError as error:
            return error

    async def page(self, job: str, cursor: str | None) -> tuple[Molecules, str | None]:
        """Molecules of a job from a place on, and the next place."""
        found: tuple[Molecules, str | None] = await self.run(operations.page(job, cursor, self._patience))
        return found


class AsyncJob(JobState):
    """Molecules that are made while this program does other things; as `Job`."""

    def __init__(self, client: AsyncClient, description: Mapping[str, Any]) -> None:
        super().__init__(description)
        self._client = client

    async def look(self) -> Mapping[str, Any]:
        """The description, asked for anew: state and progress."""
        self.description = await self._client.value(operations.look(self.id))
        return self.description

    async def cancel(self) -> None:
        """Ask for its end; what is finished can still be read."""
        self.description = await self._client.value(operations.cancel(self.id))

    async def wait(self, *, progress: bool = False) -> "AsyncJob":
        """Wait until it has ended (ServiceError: it has failed)."""
        pause = operations.LOOK
        with job_bar(progress) as show:
            while show(await self.look()) not in operations.ENDED:
                pause = await self._client.run(operations.looks(pause))
        self.refuse_failure()
        return self

    async def molecules(self, *, wait: bool = True) -> AsyncIterator[Molecule]:
        """Its molecules in their order, as they are finished."""
        cursor, pause = None, operations.LOOK
        while True:
            found, cursor = await self._client.page(self.id, cursor)
            for molecule in found:
                yield molecule
            if cursor is None or not (found or wait):
                break
            pause = operations.LOOK if found else await self._client.run(operations.looks(pause))
        if wait:
            await self.look()
            self.refuse_failure()

    async def result(self, *, progress: bool = False) -> Molecules:
        """All its molecules, when it has ended (ServiceError: it has failed)."""
        await self.wait(progress=progress)
        found = [molecule async for molecule in self.molecules()]
        return Molecules(found, self.about)
