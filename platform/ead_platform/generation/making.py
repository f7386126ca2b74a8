"""How a shard is made: a function of the plan and its number alone.

So it may be made anywhere, in any order, and made again when its actor or node dies. Bytes are equal where processor
type, torch and thread count are equal.
"""

import functools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.identity import perceived_smiles
from ead_core.common.cpu import tune_cpu
from ead_core.data.store import MoleculeSet
from ead_core.data.usable import usable
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.jury import Jury
from ead_core.sampling.generation import fulfil
from ead_core.sampling.matches import MADE_FOR, WISH
from ead_core.sampling.matching import match_wishes
from ead_core.sampling.order import MatchOrder, Order
from ead_core.sampling.repairs import settle
from ead_core.sampling.requests import Request, prepare
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_files import encode_shard, sdf_of
from ead_platform.generation.shard_index import PARQUET, SDF, own_entry
from ead_platform.generation.shards import Shard, Task

INCHIKEY = "inchikey"  # property of molecules that are compared


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
    """The molecules of a shard, and what became of its attempts (see `FinishedShard`)."""

    molecules: MoleculeSet
    nfe: float
    refused: Mapping[str, int] | None = None
    attempts: int | None = None


class ShardMaker:
    """The actor: holds the model and makes one shard after the other. It writes nothing."""

    def __init__(self, plan: GenerationPlan) -> None:
        tune_cpu(plan.threads)
        if plan.gpus:
            plan.checkpoint.denoiser.to("cuda")
        self._plan, self._question, self._jury = plan, plan.question(), Jury()
        self._ranges = plan.ranges()

    def make(self, task: Task, parquet: bytes | None) -> FinishedShard:
        """The files of a task; `parquet` is the finished file of a shard that only needs SDF."""
        start = time.perf_counter()
        if parquet is not None:
            return FinishedShard({SDF: sdf_of(parquet)}, time.perf_counter() - start, None)
        shard, (molecules, nfe, refused, attempts) = task.shard, self._sampled(task.shard)
        faults = usable(molecules)[1]
        about = own_entry(self._question, shard.name + PARQUET, shard.rows, nfe, faults, refused, attempts)
        files = {PARQUET: encode_shard(molecules, about)}
        if task.sdf:
            files[SDF] = sdf_of(files[PARQUET])
        return FinishedShard(files, time.perf_counter() - start, nfe, faults, refused, attempts)

    def _sampled(self, shard: Shard) -> _Sampled:
        order = self._plan.order
        if isinstance(order, MatchOrder):
            return self._matched(shard, order)
        molecules = shard_molecules(self._plan, shard)
        return self._accepted(shard, molecules, order) if order else _Sampled(molecules, _mean_calls(molecules))

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
        made, _, ledger = match_wishes(checkpoint, prepare(checkpoint, request), share)
        numbered = {**_lasting(made), WISH: shard.first + made.properties[WISH]}
        found = self._jury.verdicts(made, order.accept) if len(made) else []  # for the InChIKeys
        kept, lost = accepted(replace(made, properties=numbered), found)
        return _Sampled(kept, ledger.calls / ledger.attempts, lost + Counter(ledger.refused), ledger.attempts)


def request_of(plan: GenerationPlan, shard: Shard) -> Request:
    """The request for the molecules of a shard."""
    return Request(shard.rows, plan.sampler, plan.seed, shard.first, plan.sizes, plan.targets)


def wishes_of(plan: GenerationPlan, order: MatchOrder, shard: Shard) -> tuple[Request, MatchOrder]:
    """The request for the molecules that a shard's rows of the table are matched with, and what is spent on them.

    Every shard has its share of all attempts, with ids that no other has.
    """
    assert plan.targets is not None  # since they are matched
    rows = range(shard.first, shard.first + shard.rows)
    first, end = (number * plan.attempts // plan.num for number in (rows.start, rows.stop))
    request = Request(shard.rows, plan.sampler, plan.seed, first, plan.sizes, plan.targets.select(rows))
    return request, replace(order, pool=None, max_attempts=end - first)


def shard_molecules(plan: GenerationPlan, shard: Shard) -> MoleculeSet:
    """The molecules of a shard with `id`, `nfe`, what was asked of them and `smiles`.

    SMILES are those of the perceived molecules, '' where bonds cannot be perceived. All molecules are kept, also
    unusable ones, so that every id has its row. Their properties hold nothing that differs between runs, so no times.
    """
    made = fulfil(plan.checkpoint, request_of(plan, shard))
    return replace(made, properties={**_lasting(made), "smiles": np.array(perceived_smiles(made))})


def _lasting(molecules: MoleculeSet) -> dict[str, NDArray[Any]]:
    """What does not differ between equal runs; nor what older folders, which may be continued, do not have."""
    own = molecules.properties.items()
    return {name: values for name, values in own if name != "seconds" and not name.startswith(MADE_FOR)}


def _mean_calls(molecules: MoleculeSet) -> float:
    return float(np.mean(molecules.properties["nfe"]))


def accepted(molecules: MoleculeSet, found: Sequence[Verdict]) -> tuple[MoleculeSet, Counter[str]]:
    """The molecules that are accepted by themselves, with their `inchikey`, and how many are refused, by reason.

    What compares them with others is left to who has seen the others (deliveries.py).
    """
    keys = np.array([verdict.inchikey or "" for verdict in found], dtype=str)
    smiles = np.array(perceived_smiles(molecules), dtype=str)  # a repaired molecule is another one
    kept = replace(molecules, properties={**molecules.properties, "smiles": smiles, INCHIKEY: keys})
    refused = Counter(verdict.refusal for verdict in found if verdict.refusal)
    return kept.select([not verdict.refusal for verdict in found]), refused
