"""How far a generation has come, read from its folder by anybody, and how to ask its run to stop."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ead_core.common.locks import lock_file, try_lock
from ead_core.data.shard_folders import INDEX
from ead_core.errors import OutputError
from ead_platform.generation.report import duration
from ead_platform.generation.shard_index import ACCEPT, MATCH, DamagedIndexError, Entry, Index, decode_index
from ead_platform.generation.shards import CANCEL, LOCK

RECENT = 20  # shards that the present rate is of


@dataclass(frozen=True)
class Status:
    """How far a generation has come.

    Attributes:
        folder: of its shards.
        index: what is finished.
        running: whether a run is at work; None where the file system has no locks.
        rate: molecules, attempts or wishes per second over the last shards; NaN if fewer than two are finished.
    """

    folder: Path
    index: Index
    running: bool | None
    rate: float

    @property
    def lines(self) -> Iterator[str]:
        """In words."""
        question, shards, ledger = self.index.question, self.index.molecules, self.index.ledger
        rows = sum(entry.rows for entry in shards)
        what = "wishes" if MATCH in question else "attempts" if ACCEPT in question else "molecules"
        yield f"{self.folder}: {question['checkpoint']}, seed {question['seed']}"
        yield f"{rows:,} of {self.index.num:,} {what} in {len(shards):,} shards"
        if ledger:
            asked = f" of {ledger.asked:,}" if ledger.asked else ""
            yield f"{ledger.delivered:,}{asked} molecules delivered; {ledger.sentence}"
        yield {True: "a run is at work", False: "no run is at work", None: "no locks here: perhaps a run is at work"}[
            self.running
        ] + (f"; {self.rate:.3g} {what} per second, {self._left(rows)} left" if self.running and self.rate > 0 else "")

    def _left(self, rows: int) -> str:
        return duration((self.index.num - rows) / self.rate)


def status(folder: Path) -> Status:
    """How far the generation in a folder has come.

    Raises:
        OutputError: it holds none, or its index is damaged.
    """
    index = _index(folder)
    return Status(folder, index, _at_work(folder), _rate(folder, index.molecules))


def cancel(folder: Path) -> None:
    """Ask the run at work in a folder to stop, which it does within seconds; what is finished stays.

    Raises:
        OutputError: none is at work there, or the folder cannot be written.
    """
    _index(folder)
    if _at_work(folder) is False:
        raise OutputError(f"no run is at work in {folder}.")
    try:
        (folder / CANCEL).touch()
    except OSError as error:
        raise OutputError(f"cannot write {folder / CANCEL}: {error.strerror or error}.") from error


def _index(folder: Path) -> Index:
    file = folder / INDEX
    try:
        return decode_index(file.read_bytes(), file)
    except OSError as error:
        raise OutputError(f"{folder} holds no readable {INDEX} of a generation.") from error
    except DamagedIndexError as error:
        raise OutputError(f"{file} is damaged; the command that made the folder rebuilds it.") from error


def _at_work(folder: Path) -> bool | None:
    with lock_file(folder / LOCK) as file:
        taken = try_lock(file)
    return None if taken is None else not taken


def _rate(folder: Path, shards: list[Entry]) -> float:
    written = [(folder / entry.name, entry.rows) for entry in shards]
    times = sorted((path.stat().st_mtime, rows) for path, rows in written if path.exists())[-RECENT:]
    if len(times) < 2 or times[-1][0] == times[0][0]:
        return math.nan
    return sum(rows for _, rows in times[1:]) / (times[-1][0] - times[0][0])
