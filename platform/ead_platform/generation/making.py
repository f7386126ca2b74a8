"""How a shard is made: a function of the plan and its number alone.

So it may be made anywhere, in any order, and made again when its actor or node dies. Bytes are equal where processor
type, torch and thread count are equal.
"""

import functools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ead_core.common.cpu import tune_cpu
from ead_core.data.store import MoleculeSet
from ead_core.data.usable import usable
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.jury import Jury
from ead_core.sampling.generation import fulfil
from ead_core.sampling.matching import match_wishes
from ead_core.sampling.order import MatchOrder, Order
from ead_core.sampling.repairs import settle
from ead_core.sampling.requests import Request, prepare
from ead_core.sampling.unmet import Unmet
from ead_platform.generation.passports import INCHIKEY, Passports
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_files import encode_shard, sdf_of
from ead_platform.generation.shard_index import PARQUET, SDF, own_entry
from ead_platform.generation.shard_numbers import Shard, Task
from ead_platform.generation.shard_unmet import unmet_entry, with_lost


@dataclass(frozen=True)
class FinishedShard:
    """What an actor returns.

    Attributes:
        files: contents by ending.
        seconds: wall clock.
        nfe: mean network calls per attempt; None if nothing was sampled.
        faults: how many molecules are unusable, by reason.
        refused: how many are left out since they are not what is accepted, by reason; None if all are kept.
        attempts: how many were made; None if as many as the shard has rows.
    """

    files: Mapping[str, bytes]
    seconds: float
    nfe: float | None
    faults: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] | None = None
    attempts: int | None = None


class _Sampled(NamedTuple):
    """The molecules of a shard, what became of its attempts (see `FinishedShard`), and its wishes that are not met."""

    molecules: MoleculeSet
    nfe: float
    refused: Mapping[str, int] | None = None
    attempts: int | None = None
    not_met: Sequence[Unmet] | None = None


class ShardMaker:
    """The actor: holds the model and makes one shard after the other. It writes nothing."""

    def __init__(self, plan: GenerationPlan) -> None:
        tune_cpu(plan.threads)
        if plan.gpus:
            plan.checkpoint.denoiser.to("cuda")
        self._plan, self._question, self._jury = plan, plan.question(), Jury()
        self._ranges, self._passports = plan.ranges(), Passports(plan)

    def make(self, task: Task, parquet: bytes | None) -> FinishedShard:
        """The files of a task; `parquet` is the finished file of a shard that only needs SDF."""
        start = time.perf_counter()
        if parquet is not None:
            return FinishedShard({SDF: sdf_of(parquet)}, time.perf_counter() - start, None)
        shard, (molecules, nfe, refused, attempts, not_met) = task.shard, self._sampled(task.shard)
        faults = usable(molecules)[1]
        about = own_entry(self._question, shard.name + PARQUET, shard.rows, nfe, faults, refused, attempts)
        unmet = {} if not_met is None else unmet_entry(not_met)
        files = {PARQUET: encode_shard(self._passports.complete(molecules), {**about, **unmet})}
        if task.sdf:
            files[SDF] = sdf_of(files[PARQUET])
        return FinishedShard(files, time.perf_counter() - start, nfe, faults, refused, attempts)

    def _sampled(self, shard: Shard) -> _Sampled:
        order = self._plan.order
        if isinstance(order, MatchOrder):
            return self._matched(shard, order)
        molecules = shard_molecules(self._plan, shard)
        if order:
            return self._accepted(shard, molecules, order)
        keys = with_keys(molecules, self._jury.verdicts(molecules, Acceptance()))
        return _Sampled(keys, _mean_calls(molecules))

    def _accepted(self, shard: Shard, molecules: MoleculeSet, order: Order) -> _Sampled:
        """What is accepted of the molecules of a shard, repaired where they are refused."""
        acceptable = functools.partial(self._jury.verdicts, acceptance=order.accept)
        made, found = settle(self._plan.checkpoint, request_of(self._plan, shard), molecules, acceptable)
        if self._ranges:
            made, found = self._ranges.refuse(made, found)
        kept, refused = accepted(made, found)
        return _Sampled(self._ranges.compared(kept) if self._ranges else kept, _mean_calls(made), refused)

    def _matched(self, shard: Shard, order: MatchOrder) -> _Sampled:
        """The molecules that the wishes of a shard got from a pool of their own."""
        request, share = wishes_of(self._plan, order, shard)
        checkpoint = self._plan.checkpoint
        rows = self._plan.wishes
        assert rows is not None  # since they are matched
        matches = match_wishes(checkpoint, prepare(checkpoint, request), share).by_row(rows, shard.first)
        made, ledger = _lasting(matches.molecules), matches.ledger
        found = self._jury.verdicts(made, order.accept) if len(made) else []  # for the InChIKeys
        kept, lost = accepted(made, found)
        not_met = with_lost(matches.not_met, made, [verdict.refusal for verdict in found])
        return _Sampled(kept, ledger.calls / ledger.attempts, lost + Counter(ledger.refused), ledger.attempts, not_met)


def request_of(plan: GenerationPlan, shard: Shard) -> Request:
    """The request for the molecules of a shard."""
    asked = plan.wishes.cycled(shard.first, shard.rows) if plan.wishes else None
    return Request(shard.rows, plan.sampler, plan.seed, shard.first, plan.sizes, asked)


def wishes_of(plan: GenerationPlan, order: MatchOrder, shard: Shard) -> tuple[Request, MatchOrder]:
    """The request for the molecules that a shard's rows of the table are matched with, and what is spent on them.

    Every shard has its share of all attempts, with ids that no other has.
    """
    assert plan.wishes is not None  # since they are matched
    rows = range(shard.first, shard.first + shard.rows)
    first, end = (number * plan.attempts // plan.num for number in (rows.start, rows.stop))
    request = Request(shard.rows, plan.sampler, plan.seed, first, plan.sizes, plan.wishes.wishes(rows))
    return request, replace(order, pool=None, max_attempts=end - first)


def shard_molecules(plan: GenerationPlan, shard: Shard) -> MoleculeSet:
    """The molecules of a shard with `id`, `nfe`, what was asked of them, and the keys of those who asked.

    All molecules are kept, also unusable ones, so that every id has its row.
    """
    made = _lasting(fulfil(plan.checkpoint, request_of(plan, shard)))
    return plan.wishes.named(made, plan.wishes.rows_of(made.properties["id"])) if plan.wishes else made


def _lasting(molecules: MoleculeSet) -> MoleculeSet:
    """Molecules without what differs between equal runs."""
    own = molecules.properties.items()
    return replace(molecules, properties={name: values for name, values in own if name != "seconds"})


def _mean_calls(molecules: MoleculeSet) -> float:
    return float(np.mean(molecules.properties["nfe"]))


def accepted(molecules: MoleculeSet, found: Sequence[Verdict]) -> tuple[MoleculeSet, Counter[str]]:
    """The molecules that are accepted by themselves, with their `inchikey`, and how many are refused, by reason.

    What compares them with others is left to who has seen the others (deliveries.py).
    """
    refused = Counter(verdict.refusal for verdict in found if verdict.refusal)
    return with_keys(molecules, found).select([not verdict.refusal for verdict in found]), refused


def with_keys(molecules: MoleculeSet, found: Sequence[Verdict]) -> MoleculeSet:
    """Molecules with their `inchikey`, '' where bonds cannot be perceived."""
    keys = np.array([verdict.inchikey or "" for verdict in found], dtype=str)
    return replace(molecules, properties={**molecules.properties, INCHIKEY: keys})
