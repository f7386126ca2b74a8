"""Molecules that are what the caller accepts: attempts are made, judged and refused until there are enough.

Streams make them and other processes judge them; which attempts are begun and delivered, the account decides.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.noise import MAX_SEED
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import Verdict, judge, verdicts, whole
from ead_core.evaluation.isolated_workers import IsolatedPool
from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.account import Account, Delivery
from ead_core.sampling.order import Order
from ead_core.sampling.pieces import cut
from ead_core.sampling.repairs import Repairs
from ead_core.sampling.requests import Request, prepare
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
    novelty = Novelty(order.accept, threads)
    most = min(order.limit or request.num, MAX_SEED - request.first)
    first = prepare(checkpoint, replace(request, num=min(most, request.sampler.batch_size)))
    count, start = streams_for(checkpoint, first, threads), time.perf_counter()
    account, repairs = Account(order, request.first, most, novelty), Repairs(checkpoint, request)
    size, stopped = -(-request.sampler.batch_size // PIECES), False
    task = functools.partial(judge, acceptance=order.accept)
    with (
        Streams(checkpoint, request.sampler, count) as streams,
        IsolatedPool[MoleculeSet, list[Verdict]](task, count) as jury,
    ):
        try:
            while not account.done:
                if part := account.begin(request, count * request.sampler.batch_size):
                    for piece in cut(prepare(checkpoint, part), size):
                        streams.submit(piece)
                for molecules in streams.step().values():
                    jury.submit(molecules, whole(molecules))
                while jury.ready or (len(jury) and not streams.busy):
                    molecules, outcomes = jury.take()
                    settled, standing, pieces = repairs.sort(molecules, verdicts(outcomes))
                    progress(account.add(settled, standing))
                    for again in pieces:
                        streams.submit(again)
        except KeyboardInterrupt:
            stopped = True
    return account.delivery(time.perf_counter() - start, stopped)
