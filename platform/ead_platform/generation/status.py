"""How far a generation has come, read from its folder by anybody, and how to ask its run to stop."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ead_core.data.shard_folders import INDEX
from ead_core.errors import OutputError
from ead_platform.generation.places import Place
from ead_platform.generation.report import duration
from ead_platform.generation.shard_index import ACCEPT, MATCH, DamagedIndexError, Entry, Index, decode_index
from ead_platform.generation.shards import CANCEL

RECENT = 20  # shards that the present rate is of


@dataclass(frozen=True)
class Status:
    """How far a generation has come.

    Attributes:
        place: of its shards.
        index: what is finished.
        running: whether a run is at work; None where the file system has no locks.
        rate: molecules, attempts or wishes per second over the last shards; NaN if fewer than two are finished.
    """

    place: Place
    index: Index
    running: bool | None
    rate: float

    @property
    def lines(self) -> Iterator[str]:
        """In words."""
        question, shards, ledger = self.index.question, self.index.molecules, self.index.ledger
        rows = sum(entry.rows for entry in shards)
        what = "wishes" if MATCH in question else "attempts" if ACCEPT in question else "molecules"
        yield f"{self.place}: {question['checkpoint']}, seed {question['seed']}"
        yield f"{rows:,} of {self.index.num:,} {what} in {len(shards):,} shards"
        if ledger:
            asked = f" of {ledger.asked:,}" if ledger.asked else ""
            yield f"{ledger.delivered:,}{asked} molecules delivered; {ledger.sentence}"
        yield {True: "a run is at work", False: "no run is at work", None: "no locks here: perhaps a run is at work"}[
            self.running
        ] + (f"; {self.rate:.3g} {what} per second, {self._left(rows)} left" if self.running and self.rate > 0 else "")

    def _left(self, rows: int) -> str:
        return duration((self.index.num - rows) / self.rate)


def status(place: Place) -> Status:
    """How far the generation in a place has come.

    Raises:
        OutputError: there is none, or its index is damaged.
    """
    index = index_of(place)
    return Status(place, index, place.at_work(), _rate(place, index.molecules))


def cancel(place: Place) -> None:
    """Ask the run that is at work to stop, which it does within seconds; what is finished stays.

    Raises:
        OutputError: none is at work there, or it cannot be written.
    """
    index_of(place)
    if place.at_work() is False:
        raise OutputError(f"no run is at work in {place}.")
    place.write(CANCEL, b"")


def index_of(place: Place) -> Index:
    """What is finished in a place (OutputError: there is no generation, or its index is damaged)."""
    try:
        return decode_index(place.read(INDEX), f"{place}/{INDEX}")
    except OSError as error:
        raise OutputError(f"{place} holds no readable {INDEX} of a generation.") from error
    except DamagedIndexError as error:
        raise OutputError(f"{place}/{INDEX} is damaged; the command that made it rebuilds it.") from error


def _rate(place: Place, shards: list[Entry]) -> float:
    written = [(time, entry.rows) for entry in shards[-RECENT:] if (time := place.written(entry.name)) is not None]
    if len(written) < 2 or max(written)[0] == min(written)[0]:
        return math.nan
    return sum(rows for _, rows in sorted(written)[1:]) / (max(written)[0] - min(written)[0])
