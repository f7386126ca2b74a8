"""The folder of a generation: numbered shards, and `index.json`, which says what was asked and what is finished.

Shard k holds the molecules with the ids k·S … (k+1)·S − 1. A shard counts as finished when the index lists it and the
file still has the listed SHA-256, or when it was written after the index and is whole (shard_adoption.py); everything
else is made again, which gives the same bytes. An index that is lost or damaged is rebuilt from the shards.
"""

import contextlib
import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ead_core.data.shard_folders import INDEX
from ead_core.data.store import MoleculeSet
from ead_core.data.usable import usable
from ead_core.errors import OutputError
from ead_core.sampling.ledger import InRange, Ledger
from ead_platform.generation.places import Place, place_of
from ead_platform.generation.shard_adoption import is_worth_writing, uncut_entry, with_entries, with_unlisted
from ead_platform.generation.shard_files import decode_shard, encode_shard
from ead_platform.generation.shard_index import (
    PARQUET,
    SDF,
    SHARD_FILE,
    SURPLUS,
    Entry,
    Index,
    entry_of,
    own_entry,
)
from ead_platform.generation.shard_numbers import Shard, Task, number_of, shards_of
from ead_platform.generation.shard_recovery import recovered_index, stored_index
from ead_platform.generation.shard_unmet import unmet_after

CANCEL = ".cancel"  # asks the run that is at work to stop


@dataclass(frozen=True)
class Cost:
    """Means per attempt: network calls, and seconds as far as they are known (else NaN)."""

    nfe: float
    seconds: float


class ShardFolder:
    """A folder of shards; nothing is written before `opened`.

    Args:
        where: a place, absolute folder or address, new or of an earlier run.
        question: everything that the molecules depend on, as JSON values, with `checkpoint` (only a name) and
            `fingerprint` of the model.
        asked: how many molecules are to be delivered; None if all that are accepted.

    Attributes:
        place: where the files lie.
        rebuilt: what happened to the index, for people; '' if nothing did.

    Raises:
        OutputError: a place that cannot be written, other people's files, or shards of another question.
    """

    def __init__(self, where: Place | Path | str, question: Mapping[str, Any], asked: int | None = None) -> None:
        self.place = place_of(where) if isinstance(where, Path | str) else where
        self.place.check_writable()
        self.rebuilt = ""
        self._question, self._asked = dict(question), asked
        self._unwritten = 0  # shards that its file does not list yet
        self._index = self._read()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Keep other runs out for the length of a block.

        Raises:
            OutputError: another run is at work here, or the folder cannot be written.
        """
        with self.place.alone():
            self._index = self._read()  # another run may have ended since
            self.place.remove(CANCEL)
            try:
                yield
            except BaseException:
                with contextlib.suppress(OutputError):  # why the block ended matters more
                    self._write_rest()
                raise
            else:
                self._write_rest()
            finally:
                with contextlib.suppress(OutputError):  # why the block ended matters more
                    self.place.remove(CANCEL)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked the run that is at work here to stop."""
        return self.place.written(CANCEL) is not None

    @property
    def num(self) -> int:
        """Molecules that the folder is to have."""
        return self._index.num

    @property
    def until(self) -> int | None:
        """Molecules that it is to deliver; None if all that are accepted."""
        return self._index.until

    @property
    def molecules(self) -> list[Entry]:
        """The finished shards in their order."""
        return self._index.molecules

    @property
    def rows(self) -> int:
        """Molecules in the finished shards."""
        return sum(entry.rows for entry in self.molecules)

    @property
    def ledger(self) -> Ledger | None:
        """What became of the attempts; None if all molecules are kept."""
        return self._index.ledger

    @property
    def faults(self) -> Counter[str]:
        """How many of them are unusable, by reason."""
        return sum((Counter(entry.faults) for entry in self.molecules), Counter())

    @property
    def cost(self) -> Cost:
        """Network calls and seconds of the attempts for the finished shards."""
        timed = [entry for entry in self.molecules if entry.seconds is not None]
        seconds = sum(entry.seconds or 0 for entry in timed) / sum(entry.made for entry in timed) if timed else math.nan
        calls = sum(entry.made * (entry.nfe or 0) for entry in self.molecules)
        return Cost(calls / sum(entry.made for entry in self.molecules), seconds)

    def left(self, shards: list[Shard], sdf: bool) -> list[Task]:
        """What has to be made so that `shards` are complete; their files are read and compared with the index.

        Molecules that are already there beyond those asked for are kept, and the folder is repaired up to the last of
        them. A folder with SDF files gets them for all its shards, `sdf` or not.

        Raises:
            OutputError: the index cannot be written.
        """
        names, size = self.place.names(), self._question["shard_size"]
        sdf = sdf or any(name.startswith("shard-") and name.endswith(SDF) for name in names)
        last = max((number_of(entry.name) * size + entry.rows for entry in self.molecules), default=0)
        self._index = replace(self._index, num=max(sum(shard.rows for shard in shards), last))
        self._write_index()
        tasks = (self._task(shard, sdf, names) for shard in shards_of(self.num, size))
        return [task for task in tasks if task is not None]

    def _task(self, shard: Shard, sdf: bool, names: Collection[str]) -> Task | None:
        name = shard.name + PARQUET
        fault = self._fault(name, shard.rows)
        if fault is not None:
            return Task(shard, True, sdf, fault or (self._unlisted(name) if name in names else ""))
        fault = self._fault(shard.name + SDF, shard.rows) if sdf else None
        return None if fault is None else Task(shard, False, True, fault)

    def _fault(self, name: str, rows: int) -> str | None:
        """Why a file must be made: '' if it never was finished; None if it is complete."""
        entry = self._index.entries.get(name)
        if entry is None:
            return ""
        if entry.rows < rows:
            return f"{name} has {entry.rows} of {rows} molecules"
        change = self._change(entry)
        again = uncut_entry(self.place, name, self._index) if change else None
        if again is None:
            return change
        self._index, self._unwritten = with_entries(self._index, {name: again}), self._unwritten + 1  # written since
        return self._fault(name, rows)

    def _change(self, entry: Entry) -> str | None:
        """What has become of a finished file; None if it is as it was."""
        try:
            same = self.place.sha256(entry.name) == entry.sha256
        except FileNotFoundError:
            return f"{entry.name} is missing"
        except OSError as error:
            return f"{entry.name} cannot be read ({error.strerror or error})"
        return None if same else f"{entry.name} is damaged"

    def _unlisted(self, name: str) -> str:
        """Why a parquet file that is there without being finished is made again.

        Raises:
            OutputError: it is a shard of somebody else's, which would be lost.
        """
        found = entry_of(self.place, name)
        if found is None:
            return f"{name} is damaged"
        if self._difference(found[0]):
            raise OutputError(
                f"{self.place} holds a {name} of other settings, which its {INDEX} does not list and which would be "
                "replaced; move it away, or choose another --out."
            )
        return f"{name} {'was cut short' if SURPLUS in found[1].refused else f'is not listed in {INDEX}'}"

    def content(self, shard: Shard) -> bytes:
        """The parquet file of a finished shard.

        Raises:
            OutputError: it is not any more what was written.
        """
        return self._content(self._index.entries[shard.name + PARQUET])

    def _content(self, entry: Entry) -> bytes:
        file = f"{self.place}/{entry.name}"
        try:
            content = self.place.read(entry.name)
        except OSError as error:
            raise OutputError(f"cannot read {file}: {error.strerror or error}.") from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise OutputError(f"{file} has been changed while a run was at work.")
        return content

    def parts(self) -> Iterator[MoleculeSet]:
        """The molecules of the finished shards, those of one shard at a time."""
        for entry in self.molecules:
            if entry.delivered:
                yield decode_shard(self._content(entry))

    def delivered(self, shard: Shard) -> int:
        """Molecules in a finished shard."""
        return self._index.entries[shard.name + PARQUET].delivered

    def refuse(self, shard: Shard, refusals: Sequence[str]) -> None:
        """Leave molecules out of a finished shard, for which each has a reason or ''; SDF of it is made again."""
        entry = self._index.entries[shard.name + PARQUET]
        kept = decode_shard(self.content(shard)).select([not refusal for refusal in refusals])
        refused, faults = Counter(filter(None, refusals)) + Counter(entry.refused), usable(kept)[1]
        about = own_entry(self._question, entry.name, entry.rows, entry.nfe or 0, faults, refused, entry.attempts)
        files = {PARQUET: encode_shard(kept, {**about, **unmet_after(self.content(shard), refusals)})}
        self.add(shard, files, entry.seconds, entry.nfe, faults, refused, entry.attempts)

    def tell(self, in_range: InRange | None, met: int | None = None) -> None:
        """Have the ledger say how many molecules are in the ranges asked for, or wishes met, until there are others."""
        self._index = replace(self._index, in_range=in_range, met=met)
        self._write_index()

    def add(
        self,
        shard: Shard,
        files: Mapping[str, bytes],
        seconds: float | None,
        nfe: float | None,
        faults: Mapping[str, int] | None = None,
        refused: Mapping[str, int] | None = None,
        attempts: int | None = None,
    ) -> None:
        """Write the files of a shard by their endings, then the index that lists them (see `Entry`) if it is time to.

        Raises:
            OutputError: a file cannot be written, for example because the disk is full.
        """
        entries = dict(self._index.entries)
        if PARQUET in files:
            entries.pop(shard.name + SDF, None)  # made of another
        for ending, content in files.items():
            name = shard.name + ending
            self.place.write(name, content)
            entry = Entry(name, shard.rows, hashlib.sha256(content).hexdigest(), seconds and round(seconds, 3))
            measured = replace(entry, nfe=nfe, faults=faults or {}, refused=refused or {}, attempts=attempts)
            entries[name] = measured if ending == PARQUET else entry
        self._index = replace(self._index, entries=entries, in_range=None, met=None)
        self._unwritten += 1
        if is_worth_writing(len(entries), self._unwritten):
            self._write_index()

    def _write_index(self) -> None:
        self.place.write(INDEX, self._index.encode())
        self._unwritten = 0

    def _write_rest(self) -> None:
        """Have the index list all that is finished."""
        if self._unwritten:
            self._write_index()

    def _read(self) -> Index:
        self.rebuilt = ""
        names = self.place.names()
        self.place.refuse_links(name for name in names if name == INDEX or SHARD_FILE.fullmatch(name))
        if all(name == CANCEL for name in names):  # a run may die that early
            return Index(self._question).asked_for(self._asked)
        found = stored_index(self.place) if INDEX in names else None
        found = found and with_unlisted(self.place, found)
        if found is None:
            state = "damaged" if INDEX in names else "missing"
            found = recovered_index(self.place, state)
            self.rebuilt = f"{INDEX} is {state}; it is rebuilt from the undamaged shards ({len(found.entries)})"
        self._compare(found.question)
        return replace(found, question=self._question).asked_for(self._asked)

    def _compare(self, stored: Mapping[str, Any]) -> None:
        """OutputError that names the first difference."""
        if key := self._difference(stored):
            there, here = f"{key}={stored.get(key)}", str(self._question.get(key))
            if key == "fingerprint":
                there = f"checkpoint {stored.get('checkpoint')} ({stored.get(key)})"
                here = f"{self._question.get('checkpoint')} ({self._question.get(key)})"
            raise OutputError(f"{self.place} holds molecules with {there}, not {here}; choose another --out.")

    def _difference(self, stored: Mapping[str, Any]) -> str | None:
        """The first key of a question that differs from this one's; the name of a checkpoint does not count."""
        keys = (key for key in {**self._question, **stored} if key != "checkpoint")
        return next((key for key in keys if stored.get(key) != self._question.get(key)), None)
