"""Molecules that are what the caller accepts: attempts are made, judged and refused until there are enough.

Attempts are judged in the order of their ids and the first that are accepted are delivered, so that equal seeds deliver
equal molecules, whatever the batch or the number of streams. As many are made ahead as are expected to be needed.
"""

import functools
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.noise import MAX_SEED
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import FAILED, Verdict, judge
from ead_core.evaluation.chunk import Chunk
from ead_core.evaluation.criteria import CRITERIA, NOVEL, UNIQUE
from ead_core.evaluation.isolated_workers import IsolatedPool, Outcome
from ead_core.evaluation.reference import load_known
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.order import Order
from ead_core.sampling.pieces import cut
from ead_core.sampling.requests import Request, prepare
from ead_core.sampling.streams import PIECES, Streams, streams_for

Progress = Callable[[int], None]

GUESS = (7, 10)  # accepted among so many, before there are any: what is made ahead at the start
SPREAD = 2.0  # standard deviations of the number accepted by which attempts exceed those expected to be needed
NOTHING = MoleculeSet(np.zeros(0), np.zeros(0), np.zeros((0, 3)))


class Delivery(NamedTuple):
    """What is delivered, in the order of ids, and what became of all attempts."""

    molecules: MoleculeSet
    ledger: Ledger


def deliver(
    checkpoint: Checkpoint,
    request: Request,
    order: Order,
    progress: Progress = lambda done: None,
    threads: int | None = 1,
) -> Delivery:
    """Make molecules until enough of them are accepted, or there have been too many attempts.

    An interruption (Ctrl-C) delivers what has been accepted until then.

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
    known = load_known(order.accept.known, threads).inchikeys if order.accept.known else frozenset()
    most = min(order.limit or request.num, MAX_SEED - request.first)
    first = prepare(checkpoint, replace(request, num=min(most, request.sampler.batch_size)))
    count, start = streams_for(checkpoint, first, threads), time.perf_counter()
    account = _Account(order, request.first, most, known)
    size, stopped = -(-request.sampler.batch_size // PIECES), False
    task = functools.partial(judge, acceptance=order.accept)
    with (
        Streams(checkpoint, request.sampler, count) as streams,
        IsolatedPool[MoleculeSet, list[Verdict]](task, count) as jury,
    ):
        try:
            while not account.done:
                if ahead := account.missing(count * request.sampler.batch_size):
                    part = replace(request, first=request.first + account.begun, num=ahead)
                    for piece in cut(prepare(checkpoint, part), size):
                        streams.submit(piece)
                    account.begun += ahead
                for molecules in streams.step().values():
                    everywhere = np.ones(len(molecules), dtype=bool)
                    jury.submit(molecules, Chunk(0, molecules, everywhere))
                while jury.ready or (len(jury) and not streams.busy):
                    progress(account.add(*_verdicts(*jury.take())))
        except KeyboardInterrupt:
            stopped = True
    return account.delivery(time.perf_counter() - start, stopped)


def _verdicts(molecules: MoleculeSet, outcomes: list[Outcome[list[Verdict]]]) -> tuple[MoleculeSet, list[Verdict]]:
    """Molecules and the verdict on each; what cannot be measured is refused."""
    verdicts = [
        verdict
        for outcome in outcomes
        for verdict in (outcome.results[0] if not outcome.failure else [Verdict(FAILED, None)])
    ]
    return molecules, verdicts


class _Seen:
    """The InChIKeys that have been delivered, in a database of SQLite's own that goes to disk when it grows."""

    def __init__(self) -> None:
        self._keys = sqlite3.connect("")  # a temporary file, which ends with the connection
        self._keys.execute("create table seen (inchikey text primary key) without rowid")

    def add(self, inchikey: str) -> bool:
        """Whether the key is new; it is kept."""
        return self._keys.execute("insert or ignore into seen values (?)", (inchikey,)).rowcount == 1


@dataclass
class _Account:
    """Who has been made, judged and accepted.

    Attributes:
        order: what is to be delivered.
        first: id of the first attempt.
        most: attempts at most.
        known: InChIKeys of molecules that are not new.
        begun: attempts that streams have been given.
    """

    order: Order
    first: int
    most: int
    known: frozenset[str]
    begun: int = 0
    _settled: int = 0  # attempts judged, with all before them
    _judged: dict[int, tuple[MoleculeSet, int, Verdict]] = field(default_factory=dict)  # by id, not settled
    _kept: list[tuple[MoleculeSet, int]] = field(default_factory=list)
    _refused: Counter[str] = field(default_factory=Counter)
    _calls: int = 0
    _seen: _Seen = field(default_factory=_Seen)

    @property
    def done(self) -> bool:
        """Whether there is enough, or no attempt is left."""
        return self._enough or self._settled >= self.most

    @property
    def _enough(self) -> bool:
        return self.order.until is not None and len(self._kept) >= self.order.until

    def missing(self, at_once: int) -> int:
        """How many attempts to begin now, so that no more than are needed are under way, and about `at_once`."""
        left, under_way = self.most - self.begun, self.begun - self._settled
        if under_way > at_once:
            return 0
        return max(0, min(left, min(self._needed, 2 * at_once) - under_way))

    @property
    def _needed(self) -> int:
        """Further attempts that are expected to be needed."""
        if self.order.until is None:
            return self.most - self._settled
        rate = (len(self._kept) + GUESS[0]) / (self._settled + GUESS[1])
        wanted = self.order.until - len(self._kept)
        return math.ceil((wanted + SPREAD * math.sqrt(wanted * (1 - rate))) / rate)

    def add(self, molecules: MoleculeSet, verdicts: list[Verdict]) -> int:
        """Take judged molecules in; how far this has brought the delivery (see `deliver`)."""
        for row, (number, verdict) in enumerate(zip(molecules.properties["id"].tolist(), verdicts, strict=True)):
            self._judged[number] = molecules, row, verdict
        before = self._progress
        while not self.done and (found := self._judged.pop(self.first + self._settled, None)):
            self._settle(*found)
        return self._progress - before

    @property
    def _progress(self) -> int:
        return self._settled if self.order.until is None else len(self._kept)

    def _settle(self, molecules: MoleculeSet, row: int, verdict: Verdict) -> None:
        self._settled += 1
        self._calls += int(molecules.properties["nfe"][row])
        refusal = verdict.refusal or self._compared(verdict.inchikey)
        if refusal:
            self._refused[refusal] += 1
        else:
            self._kept.append((molecules, row))

    def _compared(self, inchikey: str | None) -> str:
        """Why a molecule is refused for what others are; '' if it is not."""
        if NOVEL in self.order.accept.limits and (inchikey is None or inchikey in self.known):
            return CRITERIA[NOVEL].refusal
        if UNIQUE in self.order.accept.limits and (inchikey is None or not self._seen.add(inchikey)):
            return CRITERIA[UNIQUE].refusal
        return ""

    def delivery(self, seconds: float, stopped: bool) -> Delivery:
        """What has been accepted, and the ledger."""
        surplus = sum(int(molecules.properties["nfe"][row]) for molecules, row, _ in self._judged.values())
        ledger = Ledger(
            accept=str(self.order.accept),
            asked=self.order.until,
            attempts=self._settled,
            delivered=len(self._kept),
            refused=dict(self._refused.most_common()),
            calls=self._calls,
            surplus=len(self._judged),
            surplus_calls=surplus,
            seconds=seconds,
            stopped=stopped,
        )
        kept = [molecules.select([row]) for molecules, row in self._kept]
        return Delivery(MoleculeSet.concatenate(kept) if kept else NOTHING, ledger)
