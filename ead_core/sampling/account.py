"""The account of a delivery: which attempts to begin, what became of each, and what is delivered.

Attempts are settled in the order of their ids, whenever they come, and the first that are accepted are delivered, so
that equal seeds deliver equal molecules, whatever makes them. As many are begun as are expected to be needed.
"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.ledger import InRange, Ledger
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request

GUESS = (7, 10)  # accepted among so many, before there are any: what is made ahead at the start
SPREAD = 2.0  # standard deviations of the number accepted by which attempts exceed those expected to be needed
NO_IDS = np.zeros(0, dtype=np.int64)
REPAIRED = "repaired"  # property of molecules: the round that mended them, 0 if none was needed (repairs.py)
NOTHING = MoleculeSet(np.zeros(0), np.zeros(0), np.zeros((0, 3)), {"id": NO_IDS, "nfe": NO_IDS})


class Delivery(NamedTuple):
    """What is delivered, in the order of ids, and what became of all attempts."""

    molecules: MoleculeSet
    ledger: Ledger


@dataclass
class Account:
    """Who has been made, judged and accepted.

    Attributes:
        order: what is to be delivered.
        first: id of the first attempt.
        most: attempts at most.
        novelty: whether a molecule is new; keeps those that are delivered.
    """

    order: Order
    first: int
    most: int
    novelty: Novelty
    _begun: int = 0
    _settled: int = 0  # attempts judged, with all before them
    _judged: dict[int, tuple[MoleculeSet, int, Verdict]] = field(default_factory=dict)  # by id, not settled
    _kept: list[tuple[MoleculeSet, int]] = field(default_factory=list)
    _refused: Counter[str] = field(default_factory=Counter)
    _calls: int = 0

    @property
    def done(self) -> bool:
        """Whether there is enough, or no attempt is left."""
        return self._enough or self._settled >= self.most

    @property
    def _enough(self) -> bool:
        return self.order.until is not None and len(self._kept) >= self.order.until

    def begin(self, request: Request, at_once: int) -> Request | None:
        """The part of a request that is to be begun now; None if as many as can be made `at_once` are under way."""
        number = 0 if self.done else self._missing(at_once)
        part = replace(request, first=self.first + self._begun, num=number) if number else None
        self._begun += number
        return part

    def _missing(self, at_once: int) -> int:
        left, under_way = self.most - self._begun, self._begun - self._settled
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
        refusal = verdict.refusal or self.novelty.refusal(verdict.inchikey)
        if refusal:
            self._refused[refusal] += 1
        else:
            self._kept.append((molecules, row))

    def delivery(self, seconds: float, stopped: bool = False) -> Delivery:
        """What has been accepted, and the ledger."""
        surplus = sum(int(molecules.properties["nfe"][row]) for molecules, row, _ in self._judged.values())
        rounds = [molecules.properties.get(REPAIRED, NO_IDS)[row:][:1] for molecules, row in self._kept]
        accept, refused = str(self.order.accept), dict(self._refused.most_common())
        ledger = Ledger(
            accept=accept,
            asked=self.order.until,
            attempts=self._settled,
            delivered=len(self._kept),
            repaired=sum(bool(each.any()) for each in rounds),
            refused=refused,
            calls=self._calls,
            surplus=len(self._judged),
            surplus_calls=surplus,
            seconds=seconds,
            stopped=stopped,
            in_range=InRange.counted(accept, len(self._kept), refused),
        )
        kept = [molecules.select([row]) for molecules, row in self._kept]
        return Delivery(MoleculeSet.concatenate(kept) if kept else NOTHING, ledger)
