"""Molecules that are what the caller accepts: attempts are made, judged and refused until there are enough.

Streams make them and other processes judge them; which attempts are begun and delivered, the account decides.
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.noise import MAX_SEED
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import Verdict, judge, verdicts, whole
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.isolated_workers import IsolatedPool
from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.account import Account, Delivery
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.order import Order
from ead_core.sampling.pieces import cut
from ead_core.sampling.repairs import Repairs
from ead_core.sampling.requests import Prepared, Request, prepare
from ead_core.sampling.streams import PIECES, Streams, streams_for

Progress = Callable[[int], None]


def deliver(
    checkpoint: Checkpoint,
    request: Request,
    order: Order,
    progress: Progress = lambda done: None,
    threads: int | None = 1,
) -> Delivery:
    """Make molecules until enough of them are accepted, or there have been too many attempts.

    What is refused is repaired first, as often as `sampler.repair_attempts` says. An interruption (Ctrl-C) delivers
    what has been accepted until then.

    Args:
        checkpoint: the model.
        request: of the attempts; with `until`, its `num` means nothing.
        order: what is to be delivered.
        progress: receives the number of molecules accepted since its last call, or of attempts if there is no `until`.
        threads: cores to use, see `sample`.

    Raises:
        ConfigError: what `prepare` refuses.
        DataError: the file of known molecules cannot be read.
    """
    check = RangeCheck.of(checkpoint, request, order.accept)  # what is wrong is said before anything else
    most = min(order.limit or request.num, MAX_SEED - request.first)
    first = prepare(checkpoint, replace(request, num=min(most, request.sampler.batch_size)))
    with workshop(checkpoint, first, order.accept, threads) as shop:
        return shop.deliver(request, order, check, progress)


class Workshop:
    """Who makes and judges the molecules of one delivery after the other (see `workshop`)."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        streams: Streams,
        jury: "IsolatedPool[MoleculeSet, list[Verdict]]",
        novelty: Novelty,
        at_once: int,
    ) -> None:
        self._checkpoint, self._streams, self._jury = checkpoint, streams, jury
        self._novelty, self._at_once = novelty, at_once

    def deliver(
        self, request: Request, order: Order, check: RangeCheck | None, progress: Progress = lambda done: None
    ) -> Delivery:
        """See the function `deliver`; after an `until`, which leaves work undone, no other delivery can follow."""
        most, start = min(order.limit or request.num, MAX_SEED - request.first), time.perf_counter()
        account, repairs = Account(order, request.first, most, self._novelty), Repairs(self._checkpoint, request)
        size, stopped = -(-request.sampler.batch_size // PIECES), False
        streams, jury = self._streams, self._jury
        try:
            while not account.done:
                if part := account.begin(request, self._at_once):
                    for piece in cut(prepare(self._checkpoint, part), size):
                        streams.submit(piece)
                for molecules in streams.step().values():
                    jury.submit(molecules, whole(molecules))
                while jury.ready or (len(jury) and not streams.busy):
                    molecules, outcomes = jury.take()
                    settled, standing, pieces = repairs.sort(molecules, verdicts(outcomes))
                    if check:
                        settled, standing = check.refuse(settled, standing)
                    progress(account.add(settled, standing))
                    for again in pieces:
                        streams.submit(again)
        except KeyboardInterrupt:
            stopped = True
        molecules, ledger = account.delivery(time.perf_counter() - start, stopped)
        return Delivery(molecules, check.told(ledger, molecules) if check else ledger)


@contextmanager
def workshop(
    checkpoint: Checkpoint, first: Prepared, accept: Acceptance, threads: int | None = 1
) -> Iterator[Workshop]:
    """Processes for deliveries of one kind, which know what those before have accepted; they end with the block.

    Args:
        checkpoint: the model.
        first: the first molecules, by which the number of processes is chosen.
        accept: what a delivered molecule must be.
        threads: cores to use, see `sample`.
    """
    novelty, count = Novelty(accept, threads), streams_for(checkpoint, first, threads)
    settings = first.request.sampler
    with (
        Streams(checkpoint, settings, count) as streams,
        IsolatedPool[MoleculeSet, list[Verdict]](functools.partial(judge, acceptance=accept), count) as jury,
    ):
        yield Workshop(checkpoint, streams, jury, novelty, count * settings.batch_size)
