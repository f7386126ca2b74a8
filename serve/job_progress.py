"""How far a job has come, and when it will be done."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ead_platform.generation.deliveries import Settlement
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shards import ShardFolder
from pydantic import BaseModel, Field

from ead_core.sampling.ledger import Ledger

RECENT = 20  # shards that the present rate is of


class Progress(BaseModel):
    """How far a job has come."""

    delivered: int = Field(0, description="Molecules that can be read.")
    attempts: int = Field(0, description="Molecules that were made, accepted or not.")
    max_attempts: int = Field(0, description="How many are made at most.")
    rate: float | None = Field(None, description="Attempts per second at present; null while nobody knows.")
    seconds_left: float | None = Field(None, description="How long it will still take; null while nobody knows.")
    ledger: Ledger | None = Field(
        None, description="With `accept` or `match`: what has become of all attempts, as of `POST /v1/molecules`."
    )
    shards: int = Field(0, exclude=True)


class StoredProgress(Progress):
    """As the database keeps it, with the number of shards that are final."""

    shards: int = 0


@dataclass
class Pace:
    """Measures how fast a run is, over its last shards."""

    clock: Callable[[], float] = time.monotonic
    _seen: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=RECENT + 1))

    def add(self, attempts: int, kept: int) -> None:
        """So many there are by now, those of earlier runs included."""
        self._seen.append((self.clock(), attempts, kept))

    def rates(self) -> tuple[float, float]:
        """Attempts and kept molecules per second; zeros before the second look."""
        (start, attempts, kept), (end, more, better) = self._seen[0], self._seen[-1]
        if end <= start:
            return 0.0, 0.0
        return (more - attempts) / (end - start), (better - kept) / (end - start)


def progress_of(folder: ShardFolder, plan: GenerationPlan, settlement: Settlement, pace: Pace) -> StoredProgress:
    """How far the run in a folder has come."""
    attempts = sum(entry.made for entry in folder.molecules)
    kept = sum(entry.delivered for entry in folder.molecules)
    pace.add(attempts, kept)
    rate, keeping = pace.rates()
    missing, speed = (plan.attempts - attempts, rate) if plan.until is None else (plan.until - kept, keeping)
    delivered = sum(settlement.delivered)
    return StoredProgress(
        delivered=delivered if plan.until is None else min(delivered, plan.until),
        attempts=attempts,
        max_attempts=plan.attempts,
        rate=rate or None,
        seconds_left=max(0, missing) / speed if speed else None,
        ledger=folder.ledger,
        shards=len(settlement.delivered),
    )
