"""What a generation will cost, from a few of its own molecules, before anything is spent on it."""

import math
from dataclasses import dataclass

from ead_core.common.cpu import processor
from ead_core.common.intervals import wilson
from ead_platform.generation.making import ShardMaker
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import duration
from ead_platform.generation.shard_index import PARQUET
from ead_platform.generation.shard_numbers import Shard, Task

PROBE = 64  # attempts


@dataclass(frozen=True)
class Estimate:
    """What was measured, for the whole generation.

    Attributes:
        probe: attempts it is measured on, the first ones of the generation.
        accepted: how many of them.
        attempts: of the whole generation, at most.
        until: molecules wanted; None makes all attempts.
        calls: network calls per attempt.
        seconds: per attempt, on one of the plan's actors.
        size: bytes of parquet per molecule that is kept.
    """

    probe: int
    accepted: int
    attempts: int
    until: int | None
    calls: float
    seconds: float
    size: float

    @property
    def needed(self) -> tuple[float, float, float]:
        """Attempts that are needed: estimate, and the ends of the 95 % interval of the accepted share (Wilson 1927)."""
        if self.until is None:
            return (float(self.attempts),) * 3
        low, high = wilson(self.accepted, self.probe)
        shares = (self.accepted / self.probe, high, low)
        middle, least, most = (min(self.until / share if share else math.inf, self.attempts) for share in shares)
        return middle, least, most

    @property
    def molecules(self) -> float:
        """How many are kept."""
        kept = self.needed[0] * self.accepted / self.probe
        return kept if self.until is None else min(kept, self.until)

    def lines(self, actors: int) -> list[str]:
        """Sentences for people, for so many actors at work."""
        middle, least, most = self.needed
        span = f" (95 %: {least:,.0f} to {most:,.0f})" if most > least else ""
        hours = middle * self.seconds / 3600
        return [
            f"measured on the first {self.probe} attempts, by one actor on {processor()}: "
            f"{self.accepted} are kept, {self.calls:.0f} network calls and {self.seconds:.2g} s each",
            f"attempts       {middle:,.0f}{span}",
            f"molecules      {self.molecules:,.0f}",
            f"network calls  {middle * self.calls:,.0f}",
            f"actor-hours    {hours:,.3g}; {duration(3600 * hours / actors)} with {actors} actor{'s' * (actors > 1)}",
            f"parquet        {_in_units(self.molecules * self.size)}",
            "Not in it: repeated molecules, whose share grows with the number, and actors slower than this machine.",
        ]


def estimate(plan: GenerationPlan, most: int = PROBE) -> Estimate:
    """Make the first molecules of a generation here, at most so many, and measure their cost; nothing is written."""
    rows = max(1, min(most, plan.attempts) * plan.num // plan.attempts)  # a wish takes several attempts
    maker = ShardMaker(plan)
    maker.make(_first(1), None)  # what starts once is not part of the price
    made = maker.make(_first(rows), None)
    probe = rows if made.attempts is None else made.attempts
    accepted = probe - sum((made.refused or {}).values())
    calls = 0.0 if made.nfe is None else made.nfe
    size = len(made.files[PARQUET]) / max(accepted, 1)
    return Estimate(probe, accepted, plan.attempts, plan.until, calls, made.seconds / probe, size)


def _first(rows: int) -> Task:
    """To make so many molecules, or those of so many wishes."""
    return Task(Shard(0, 0, rows), True, False, "")


def _in_units(size: float) -> str:
    power = min(int(math.log(max(size, 1), 1000)), 4)
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
