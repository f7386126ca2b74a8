"""The model behind the service: requests of different clients share network calls, whenever they come."""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ead_core.common.cpu import tune_cpu
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.account import Account, Delivery
from ead_core.sampling.engine import Engine
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.matching import Matching
from ead_core.sampling.order import MatchOrder, Order
from ead_core.sampling.pieces import Entered
from ead_core.sampling.repairs import Repairs
from ead_core.sampling.requests import Request
from serve.jury import Jury
from serve.settings import ServeSettings

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Attributes:
        molecules: with all properties but times, since these differ between equal requests.
        companions: most requests that shared a network call, this one included.
        ledger: what became of the attempts, if only those that are accepted are delivered.
        unmet: why wishes have no molecule, by their number from 1; None if there are no wishes.
    """

    molecules: MoleculeSet
    companions: int
    ledger: Ledger | None = None
    unmet: Mapping[int, str] | None = None


@dataclass
class Pending:
    """A request whose client waits; `answer` becomes None after a failure."""

    answer: asyncio.Future[Answer | None]
    companions: int = 1

    def settle(self, made: Answer | None) -> None:
        """Answer, unless the client has gone."""
        if not self.answer.done():
            self.answer.set_result(made)


class Sampling:
    """An engine that runs in a thread of its own, so that health checks get through, while there is work.

    Args:
        settings: of the service, with the checkpoint located.
    """

    def __init__(self, settings: ServeSettings) -> None:
        tune_cpu(settings.threads)
        self._checkpoint = settings.load()
        self._checkpoint.denoiser.to("cuda" if settings.num_gpus else "cpu")
        self._settings = settings
        self._thread = ThreadPoolExecutor(1)
        self._jury = Jury()
        self._pending: dict[int, Pending] = {}
        self._engine = self._idle_engine()
        self._driver: asyncio.Task[None] | None = None

    async def generate(self, request: Request) -> Answer | None:
        """The molecules of a request that the border has admitted, or None after a failure, which is logged.

        If the client goes away, the request leaves the engine.
        """
        # The border has prepared the request once, to check it. What that made is bound to the interface's own copy of
        # the model, in another process, and cannot travel; making it again is cheap beside a network call.
        return await self._make(Entered(self._engine.submit(request)))

    async def _make(self, entered: Entered) -> Answer | None:
        """The molecules of what has entered the engine; see `generate`."""
        request_id = entered.request_id
        pending = self._pending[request_id] = Pending(asyncio.get_running_loop().create_future())
        if self._driver is None:
            self._driver = asyncio.create_task(self._drive())
        try:
            answer = await pending.answer
            return answer and replace(answer, molecules=entered.finish(answer.molecules))
        except asyncio.CancelledError:
            self._engine.cancel(request_id)
            raise
        finally:
            self._pending.pop(request_id, None)

    async def deliver(self, request: Request, order: Order) -> Answer | None:
        """What is accepted of the attempts of a request, which are made until that is enough; else as `generate`."""
        check = RangeCheck.of(self._checkpoint, request, order.accept)
        found = await self._delivered(Novelty(order.accept), request, order, check)
        if found is None:
            return None
        (molecules, ledger), companions = found
        return Answer(molecules, companions, ledger)

    async def match(self, request: Request, order: MatchOrder) -> Answer | None:
        """The molecules that the wishes of a request's targets get, as the core matches them; else as `generate`."""
        matching, novelty, companions = Matching(self._checkpoint, request, order), Novelty(order.accept), 1
        for each in matching.rounds():
            found = await self._delivered(novelty, *each)
            if found is None:
                return None
            delivery, shared = found
            companions = max(companions, shared)
            await asyncio.to_thread(matching.add, delivery)
        matches = matching.matches()
        return Answer(matches.molecules, companions, matches.ledger, matches.unmet)

    async def _delivered(
        self, novelty: Novelty, request: Request, order: Order, check: RangeCheck | None
    ) -> tuple[Delivery, int] | None:
        """What is accepted of the attempts of a request and most requests that shared a call; None after a failure."""
        start, companions = time.perf_counter(), 1
        account, repairs = Account(order, request.first, request.num, novelty), Repairs(self._checkpoint, request)
        while part := account.begin(request, self._settings.batch_molecules):
            coming = [self.generate(part)]
            while coming:
                made = await coming.pop()
                if made is None:
                    return None
                companions = max(companions, made.companions)
                found = await self._jury.verdicts(made.molecules, order.accept)
                settled, standing, pieces = repairs.sort(made.molecules, found)
                if check:
                    settled, standing = await asyncio.to_thread(check.refuse, settled, standing)
                account.add(settled, standing)
                coming += [self._make(piece.enter(self._engine)) for piece in pieces]
        molecules, ledger = account.delivery(time.perf_counter() - start)
        if check:
            ledger = await asyncio.to_thread(check.told, ledger, molecules)
        return Delivery(molecules, ledger), companions

    async def _drive(self) -> None:
        """Step the engine until it has nothing left to do."""
        try:
            while self._engine.busy:
                finished = await asyncio.get_running_loop().run_in_executor(self._thread, self.step)
                self._answer(finished)
        except Exception:
            # As a value, not an exception: Ray Serve would write the traceback once more for every caller.
            logger.exception("%d requests failed.", len(self._pending))
            failed, self._pending = self._pending, {}
            self._engine = self._idle_engine()
            for pending in failed.values():
                pending.settle(None)
        finally:
            self._driver = None

    def _idle_engine(self) -> Engine:
        own = self._checkpoint.config.sampler
        return Engine(self._checkpoint, self._settings.batch_molecules, own.memory_budget, own.precision)

    def step(self) -> dict[int, MoleculeSet]:
        """One network call for every running molecule; what it completes."""
        return self._engine.step()

    def _answer(self, finished: dict[int, MoleculeSet]) -> None:
        running = self._engine.running
        for request_id in running & self._pending.keys():
            self._pending[request_id].companions = max(self._pending[request_id].companions, len(running))
        for request_id in finished.keys() & self._pending.keys():
            pending = self._pending[request_id]
            pending.settle(Answer(_lasting(finished[request_id]), pending.companions))


def _lasting(molecules: MoleculeSet) -> MoleculeSet:
    return replace(molecules, properties={n: values for n, values in molecules.properties.items() if n != "seconds"})
