"""What a generation is asked for, in whole: what its molecules depend on, and how many are wanted."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.priors import SizeRange
from ead_core.data.properties import count_name
from ead_core.data.targets import Targets
from ead_core.data.wish_tables import WishTable
from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import NOVEL
from ead_core.prediction.judge import Judge
from ead_core.sampling.choice import selector_of
from ead_core.sampling.conditions import check_sizes_seen
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.order import MatchOrder, Order
from ead_core.sampling.requests import MOST, Request, of_largest, prepare
from ead_core.sampling.wishes import Wishes
from ead_platform.generation.shard_index import ACCEPT, MATCH
from ead_platform.generation.shard_numbers import Shard, shards_of

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


@dataclass(frozen=True)
class GenerationPlan:
    """What the molecules depend on, and how many are wanted.

    Attributes:
        checkpoint: the trained model.
        num: molecules in all; with an order, attempts at most; of a match, wishes, which are the rows of the targets.
        shard_size: molecules per file.
        seed, sizes: see `Request`.
        sampler: settings.
        threads: torch threads, and CPUs, of an actor.
        gpus: GPUs of an actor, at most 1; 0 samples on the CPU.
        targets: see `Request`.
        order: what is to be delivered; None keeps all molecules. Every shard has a share of a match's attempts, half of
            which are its pool.
        table: the targets again, with how many molecules each row asks for and what it is called; None if each asks for
            one and has no name.
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
    order: Order | MatchOrder | None = None
    table: WishTable | None = None

    @property
    def wishes(self) -> WishTable | None:
        """The rows of the targets with their counts and keys; None without targets."""
        return self.table or (WishTable(self.targets) if self.targets else None)

    @property
    def attempts(self) -> int:
        """How many there are at most."""
        return self.order.attempts(self.num)[1] if isinstance(self.order, MatchOrder) else self.num

    @property
    def until(self) -> int | None:
        """How many molecules end the making of shards; None if all shards are made."""
        return self.order.until if isinstance(self.order, Order) else None

    @property
    def asked(self) -> int | None:
        """How many molecules are to be delivered; None if that is not known before."""
        return self.num if isinstance(self.order, MatchOrder) else self.until

    def ranges(self) -> RangeCheck | None:
        """Who says which molecules are in the ranges asked for, and how many in truth; None if that is no criterion.

        Raises:
            ConfigError: no ranges, or no selector that may choose.
        """
        if not isinstance(self.order, Order):
            return None
        return RangeCheck.of(self.checkpoint, Request(1, self.sampler, targets=self.targets), self.order.accept)

    def predictor(self) -> Judge | None:
        """Who predicts the properties asked for: the selector; None if none are, or if nobody may."""
        try:
            return selector_of(self.checkpoint, self.targets.names) if self.targets else None
        except ConfigError:  # where it is needed, somebody has said so before
            return None

    def check(self, beyond_training: bool = False) -> None:
        """Find before any work what would fail in the midst of it.

        Args:
            beyond_training: allow sizes that no training molecule has.

        Raises:
            ConfigError: a value out of range, too many shards, or settings that do not fit the checkpoint.
        """
        for option, count in (("--num", self.num), ("--shard-size", self.shard_size), ("--threads", self.threads)):
            if count < 1:
                raise ConfigError(f"{option} must be at least 1, not {count}.")
        if self.shard_size > MOST:
            raise ConfigError(f"--shard-size must be at most {MOST:,}, not {self.shard_size:,}.")
        if not 0 <= self.gpus <= 1:
            raise ConfigError(f"--gpus-per-actor must be between 0 and 1, as an actor uses one, not {self.gpus:g}.")
        last = Request(1, self.sampler, self.seed, self.num - 1, self.sizes, self.targets)
        prepare(self.checkpoint, last)
        self.ranges()
        if isinstance(self.order, MatchOrder):
            self._check_match(self.order)
        if self.order and self.order.accept.known and not self.order.accept.known.exists():
            raise ConfigError(f"{NOVEL}={self.order.accept.known} names no file; it needs one of molecules.")
        start = prepare(self.checkpoint, of_largest(self.checkpoint, last)).start  # may occur in some shard
        if not beyond_training:
            asked = self.sizes if isinstance(self.sizes, tuple) else ()
            check_sizes_seen(self.checkpoint, np.array([*asked, *start.sizes]))
        self.shards()

    def _check_match(self, order: MatchOrder) -> None:
        assert self.targets is not None  # since they are matched
        Wishes(self.targets, selector_of(self.checkpoint, self.targets.names))
        if self.attempts < self.num:
            raise ConfigError(f"--max-attempts must be at least {self.num}, one per wish, not {self.attempts}.")
        if NOVEL in order.accept.limits:
            raise ConfigError(f"--match takes no {NOVEL}=FILE, which every shard would have to read; leave it out.")

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
            **({"rows": self.table.digest} if self.table and self.table.digest else {}),
            **({ACCEPT: str(self.order.accept)} if self.order else {}),
            **({MATCH: self.attempts} if isinstance(self.order, MatchOrder) else {}),
            **self._predictors(),
        }

    def _predictors(self) -> dict[str, Any]:
        """Who predicts what is asked for, and who is compared with, if anybody."""
        ranges = self.ranges()
        found = {"selector": self.predictor(), "judge": ranges and ranges.judge}
        return {name: judge.fingerprint for name, judge in found.items() if judge}
