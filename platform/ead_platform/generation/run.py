"""Generating many molecules in shards by actors of a Ray cluster.

A shard is a function of the plan and its number alone, so it may be made anywhere, in any order, and made again when
its actor or node dies. Bytes are equal where processor type, torch and thread count are equal.
"""

import contextlib
import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import ray
from ray.exceptions import ObjectLostError, RayActorError, RayError, RayTaskError

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.chemistry.identity import perceived_smiles
from ead_core.common.cpu import tune_cpu
from ead_core.config import SamplerConfig
from ead_core.data.priors import SizeRange
from ead_core.data.properties import count_name
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.data.usable import usable
from ead_core.errors import ConfigError, one_line
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.jury import Jury
from ead_core.sampling.choice import selector_of
from ead_core.sampling.conditions import check_sizes_seen
from ead_core.sampling.generation import fulfil
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.order import Order
from ead_core.sampling.repairs import settle
from ead_core.sampling.requests import Request, of_largest, prepare
from ead_platform.generation.shard_files import encode_shard, sdf_of
from ead_platform.generation.shard_index import ACCEPT, PARQUET, SDF, own_entry
from ead_platform.generation.shards import Shard, Task, shards_of

INCHIKEY = "inchikey"  # property of molecules that are compared
FORMULA = {"composition", "formula_guidance", "formula_levels", "formula_restarts"}
LATER = (  # settings of the sampler that earlier versions did not have
    *("guidance", "guidance_levels", "temperature", "temperature_width", "temperature_levels", "start"),
    *("corrector", "corrector_mode", "corrector_levels", "corrector_channels"),
    *("parity_restarts", "parity_levels"),
    *FORMULA,
    *("repair_attempts", "repair_level", "repair_extent", "repair_hops"),
    *("branches", "branch_level", "pruning_levels", "pruning_kept", "property_guidance", "property_levels"),
    "frames",
)
PATIENCE = 20  # seconds without a free place in the cluster before it is said
DEATHS = 3  # per actor, in a row without a finished shard: then the work itself must be what kills them


class GenerationError(Exception):
    """A shard cannot be made; what was finished before is kept."""


@dataclass(frozen=True)
class GenerationPlan:
    """What the molecules depend on, and how many are wanted.

    Attributes:
        checkpoint: the trained model.
        num: molecules in all; with an order, attempts at most.
        shard_size: molecules per file.
        seed, sizes: see `Request`.
        sampler: settings.
        threads: torch threads, and CPUs, of an actor.
        gpus: GPUs of an actor, at most 1; 0 samples on the CPU.
        targets: see `Request`.
        order: what is to be delivered; None keeps all molecules.
    """

    checkpoint: Checkpoint
    num: int
    shard_size: int
    seed: int
    sizes: tuple[int, ...] | SizeRange | None
    sampler: SamplerConfig
    threads: int
    gpus: float
    targets: Targets | None = None
    order: Order | None = None

    def check(self, beyond_training: bool = False) -> None:
        """Find before any work what would fail in the midst of it.

        Args:
            beyond_training: allow sizes that no training molecule has.

        Raises:
            ConfigError: a value out of range, or settings that do not fit the checkpoint.
        """
        for option, count in (("--num", self.num), ("--shard-size", self.shard_size), ("--threads", self.threads)):
            if count < 1:
                raise ConfigError(f"{option} must be at least 1, not {count}.")
        if not 0 <= self.gpus <= 1:
            raise ConfigError(f"--gpus-per-actor must be between 0 and 1, as an actor uses one, not {self.gpus:g}.")
        last = Request(1, self.sampler, self.seed, self.num - 1, self.sizes, self.targets)
        prepare(self.checkpoint, last)
        if self.order:
            RangeCheck.of(self.checkpoint, last, self.order.accept)
        start = prepare(self.checkpoint, of_largest(self.checkpoint, last)).start  # may occur in some shard
        if not beyond_training:
            asked = self.sizes if isinstance(self.sizes, tuple) else ()
            check_sizes_seen(self.checkpoint, np.array([*asked, *start.sizes]))

    def shards(self) -> list[Shard]:
        """All shards (ConfigError if they are too many)."""
        return shards_of(self.num, self.shard_size)

    def _without_effect(self) -> set[str]:
        """Settings of the sampler that came later and are as if they were not there."""
        fields = type(self.sampler).model_fields
        same = {key for key in LATER if getattr(self.sampler, key) == fields[key].default}
        without_guidance = set() if self.sampler.guidance else {"guidance_levels"}
        branching = {"branch_level", "pruning_levels", "pruning_kept"}
        without_branches = set() if self.sampler.branches > 1 else branching
        without_order = set() if self.order else {key for key in LATER if key.startswith("repair_")}
        idle = same | without_guidance | without_branches | without_order
        formula = {count_name(number) for number in self.checkpoint.statistics.atom_numbers}
        return idle - FORMULA if self.targets and formula <= set(self.targets.names) else idle | FORMULA

    def question(self) -> dict[str, Any]:
        """Everything that the bytes of a full shard depend on, as JSON values.

        What came later is part of it only where it has an effect, so that folders without it stay what they were:
        targets, acceptance, and some of the sampler's settings.
        """
        sampler = self.sampler.model_dump(mode="json", exclude=self._without_effect())
        return {
            "checkpoint": self.checkpoint.name,
            "fingerprint": self.checkpoint.fingerprint(),
            "seed": self.seed,
            "shard_size": self.shard_size,
            "sizes": list(self.sizes) if isinstance(self.sizes, tuple) else self.sizes and str(self.sizes),
            "threads": self.threads,
            "device": "cuda" if self.gpus else "cpu",
            **{f"sampler.{key}": value for key, value in sampler.items()},
            **({"targets": self.targets.to_json()} if self.targets else {}),
            **({ACCEPT: str(self.order.accept)} if self.order else {}),
            **self._selector(),
        }

    def _selector(self) -> dict[str, Any]:
        """Who chooses among branches, or says what is in range, if anybody does."""
        predicts = self.sampler.predicts or (self.order is not None and self.order.predicts)
        chosen = selector_of(self.checkpoint, self.targets.names) if self.targets and predicts else None
        return {"selector": chosen.fingerprint} if chosen else {}


@dataclass(frozen=True)
class FinishedShard:
    """What an actor returns.

    Attributes:
        files: contents by ending.
        seconds: wall clock.
        nfe: mean network calls per molecule; None if nothing was sampled.
        faults: how many molecules are unusable, by reason.
        refused: how many are left out since they are not what is accepted, by reason; None if all are kept.
    """

    files: Mapping[str, bytes]
    seconds: float
    nfe: float | None
    faults: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] | None = None


class ShardMaker:
    """The actor: holds the model and makes one shard after the other. It writes nothing."""

    def __init__(self, plan: GenerationPlan) -> None:
        tune_cpu(plan.threads)
        if plan.gpus:
            plan.checkpoint.denoiser.to("cuda")
        self._plan, self._question, self._jury = plan, plan.question(), Jury()

    def make(self, task: Task, parquet: bytes | None) -> FinishedShard:
        """The files of a task; `parquet` is the finished file of a shard that only needs SDF."""
        start = time.perf_counter()
        if parquet is not None:
            return FinishedShard({SDF: sdf_of(parquet)}, time.perf_counter() - start, None)
        molecules = shard_molecules(self._plan, task.shard)
        refused = None
        if order := self._plan.order:
            request = request_of(self._plan, task.shard)
            acceptable = functools.partial(self._jury.verdicts, acceptance=order.accept)
            molecules, found = settle(self._plan.checkpoint, request, molecules, acceptable)
            if check := RangeCheck.of(self._plan.checkpoint, request, order.accept):
                molecules, found = check.refuse(molecules, found)
        nfe = float(np.mean(molecules.properties["nfe"]))
        if order:
            molecules, refused = accepted(molecules, found)
        faults = usable(molecules)[1]
        about = own_entry(self._question, task.shard.name + PARQUET, task.shard.rows, nfe, faults, refused)
        files = {PARQUET: encode_shard(molecules, about)}
        if task.sdf:
            files[SDF] = sdf_of(files[PARQUET])
        return FinishedShard(files, time.perf_counter() - start, nfe, faults, refused)


def request_of(plan: GenerationPlan, shard: Shard) -> Request:
    """The request for the molecules of a shard."""
    return Request(shard.rows, plan.sampler, plan.seed, shard.first, plan.sizes, plan.targets)


def shard_molecules(plan: GenerationPlan, shard: Shard) -> MoleculeSet:
    """The molecules of a shard with `id`, `nfe`, what was asked of them and `smiles`.

    SMILES are those of the perceived molecules, '' where bonds cannot be perceived. All molecules are kept, also
    unusable ones, so that every id has its row. Their properties hold nothing that differs between runs, so no times.
    """
    made = fulfil(plan.checkpoint, request_of(plan, shard))
    smiles = np.array(perceived_smiles(made))
    kept = {name: values for name, values in made.properties.items() if name != "seconds"}
    return replace(made, properties={**kept, "smiles": smiles})


def accepted(molecules: MoleculeSet, found: Sequence[Verdict]) -> tuple[MoleculeSet, Counter[str]]:
    """The molecules that are accepted by themselves, with their `inchikey`, and how many are refused, by reason.

    What compares them with others is left to who has seen the others (deliveries.py).
    """
    keys = np.array([verdict.inchikey or "" for verdict in found], dtype=str)
    smiles = np.array(perceived_smiles(molecules))  # a repaired molecule is another one
    kept = replace(molecules, properties={**molecules.properties, "smiles": smiles, INCHIKEY: keys})
    refused = Counter(verdict.refusal for verdict in found if verdict.refusal)
    return kept.select([not verdict.refusal for verdict in found]), refused


class ActorPool:
    """The actors of a run and what each is doing.

    Args:
        plan: travels to the actors through Ray, so no shared file system is needed.
        actors: how many.
        content: reads the parquet file of a finished shard.
        finished: receives each task with what was made of it.
        say: receives news for people.
    """

    def __init__(
        self,
        plan: GenerationPlan,
        actors: int,
        content: Callable[[Shard], bytes],
        finished: Callable[[Task, FinishedShard], None],
        say: Callable[[str], None],
    ) -> None:
        self._plan, self._actors = plan, actors
        self._content, self._finished, self._say = content, finished, say
        self._maker = ray.remote(num_cpus=plan.threads, num_gpus=plan.gpus)(ShardMaker)
        self._doing: dict[Any, tuple[Any, Task | None]] = {}  # by promised result; no task while an actor starts
        self._waiting: deque[Task] = deque()
        self._deaths = 0  # since the last finished task

    def work(self, tasks: Sequence[Task]) -> None:
        """Do all tasks; the actors end with it, however it ends.

        Raises:
            GenerationError: a task failed other than by the death of its actor, or actors keep dying.
        """
        self._waiting.extend(tasks)
        try:
            self._shared = ray.put(self._plan)
            for _ in range(self._actors):
                self._start_actor()
            while self._waiting or any(task for _, task in self._doing.values()):
                self._turn(self._next())
        except RayTaskError as error:
            raise GenerationError(f"{type(error.cause).__name__}: {one_line(error.cause)}.") from error
        except RayError as error:
            raise GenerationError(f"{type(error).__name__}: {one_line(error)}.") from error
        finally:
            for actor, _ in self._doing.values():
                with contextlib.suppress(RayError):
                    ray.kill(actor)

    def _start_actor(self) -> None:
        actor: Any = self._maker.remote(self._shared)
        self._doing[actor.__ray_ready__.remote()] = actor, None

    def _next(self) -> Any:
        """Wait for a promised result."""
        if not any(task for _, task in self._doing.values()):
            ready, _ = ray.wait(list(self._doing), num_returns=1, timeout=PATIENCE)
            if ready:
                return ready[0]
            self._say(f"waiting until the cluster has {self._plan.threads} CPUs and {self._plan.gpus:g} GPUs free")
        return ray.wait(list(self._doing), num_returns=1)[0][0]

    def _turn(self, result: Any) -> None:
        """Take a result, and give its actor the next task; without one the actor ends and makes room."""
        actor, task = self._doing.pop(result)
        try:
            made = ray.get(result)
        except (RayActorError, ObjectLostError) as error:
            self._replace(error, task)
            return
        if task:
            self._deaths = 0
            self._finished(task, made)
        if self._waiting:
            task = self._waiting.popleft()
            parquet = None if task.sample else self._content(task.shard)
            self._doing[actor.make.remote(task, parquet)] = actor, task

    def _replace(self, error: Exception, task: Task | None) -> None:
        """Start another actor for one that died, unless it failed to start or too many have died."""
        doing = f"while making {task.shard.name}" if task else "while starting"
        if getattr(error, "actor_init_failed", False):
            raise GenerationError(f"an actor could not start: {str(error).splitlines()[-1]}.") from error
        self._deaths += 1
        if self._deaths > DEATHS * self._actors:
            raise GenerationError(
                f"{self._deaths} actors died in a row, the last {doing}; often memory is short: "
                "use fewer --actors or a smaller sampler.batch_size."
            ) from error
        self._say(f"an actor died {doing}; another takes its place")
        if task:
            self._waiting.append(task)  # last in the queue: should it be deadly, the others are done by then
        self._start_actor()
