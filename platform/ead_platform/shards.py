"""The folder of a generation: numbered shards, and `index.json`, which says what was asked and what is finished.

Shard k holds the molecules with the ids k·S … (k+1)·S − 1. A shard counts as finished when the index lists it and the
file still has the listed SHA-256; everything else is made again, which gives the same bytes.
"""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ead_core.data.formats import check_output
from ead_core.errors import ConfigError, OutputError
from ead_core.files import write_aside
from ead_platform.locks import lock_file

VERSION = 1
INDEX, LOCK = "index.json", ".lock"
PARQUET, SDF = ".parquet", ".sdf.gz"
MOST_SHARDS = 100_000  # numbers have five digits, so that the order of the names is the order of the molecules
_UNFINISHED = ".writing-"  # what `write_aside` leaves behind when a process is killed


@dataclass(frozen=True)
class Shard:
    """`rows` molecules from id `first` on."""

    number: int
    first: int
    rows: int

    @property
    def name(self) -> str:
        """The file name without its ending."""
        return f"shard-{self.number:05d}"


@dataclass(frozen=True)
class Task:
    """What is to be made of a shard.

    Attributes:
        shard: which molecules.
        sample: generate them; otherwise the finished parquet file is turned into SDF.
        sdf: write SDF.
        reason: why something that was there is made again, for people; '' if it never was there.
    """

    shard: Shard
    sample: bool
    sdf: bool
    reason: str


@dataclass(frozen=True)
class Entry:
    """A finished file as the index lists it; `seconds` made it, `nfe` is the mean per molecule (parquet only)."""

    name: str
    rows: int
    sha256: str
    seconds: float
    nfe: float | None = None

    @cached_property
    def line(self) -> str:
        """The entry as JSON, kept because the index is rewritten after every shard."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps({name: value for name, value in values.items() if value is not None})


class ShardFolder:
    """A folder of shards; nothing is written before `opened`.

    Args:
        path: absolute folder, new or of an earlier run.
        question: everything that the molecules depend on, as JSON values, with `checkpoint` (only a name) and
            `fingerprint` of the model.

    Raises:
        OutputError: a place that cannot be written, other people's files, or shards of another question.
    """

    def __init__(self, path: Path, question: Mapping[str, Any]) -> None:
        self.path = path
        self.num = 0
        self._question = dict(question)
        self._entries: dict[str, Entry] = {}
        check_output(path / f"shard{PARQUET}")
        self._read()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Keep other runs out for the length of a block, and clear away what a killed one left half-written.

        Raises:
            OutputError: another run is at work here, or the folder cannot be written.
        """
        with _locked(self.path / LOCK) as alone:
            self._read()  # another run may have ended since
            for path in self.path.glob(f"{_UNFINISHED}*") if alone else ():
                path.unlink(missing_ok=True)
            yield

    @property
    def molecules(self) -> list[Entry]:
        """The finished shards in their order."""
        return self._sorted(PARQUET)

    @property
    def rows(self) -> int:
        """Molecules in the finished shards."""
        return sum(entry.rows for entry in self.molecules)

    def left(self, shards: list[Shard], sdf: bool) -> list[Task]:
        """What has to be made so that `shards` are complete; their files are read and compared with the index.

        Molecules that are already there beyond those asked for are kept. A folder with SDF files gets them for all
        its shards, `sdf` or not.
        """
        sdf = sdf or bool(self._sorted(SDF))
        self.num = max(sum(shard.rows for shard in shards), self.rows)
        self._write_index()
        tasks = (self._task(shard, sdf) for shard in shards)
        return [task for task in tasks if task is not None]

    def _task(self, shard: Shard, sdf: bool) -> Task | None:
        known = self._entries.get(shard.name + PARQUET)
        shard = Shard(shard.number, shard.first, max(shard.rows, known.rows if known else 0))
        fault = self._fault(shard.name + PARQUET, shard.rows)
        if fault is not None:
            return Task(shard, True, sdf, fault)
        fault = self._fault(shard.name + SDF, shard.rows) if sdf else None
        return None if fault is None else Task(shard, False, True, fault)

    def _fault(self, name: str, rows: int) -> str | None:
        """Why a file must be made: '' if the index does not list it; None if it is complete."""
        entry = self._entries.get(name)
        if entry is None:
            return ""
        if entry.rows < rows:
            return f"{name} has {entry.rows} of {rows} molecules"
        try:
            with (self.path / name).open("rb") as file:
                damaged = hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256
        except OSError:
            return f"{name} is missing"
        return f"{name} is damaged" if damaged else None

    def content(self, shard: Shard) -> bytes:
        """The parquet file of a finished shard."""
        return (self.path / (shard.name + PARQUET)).read_bytes()

    def add(self, shard: Shard, files: Mapping[str, bytes], seconds: float, nfe: float | None) -> None:
        """Write the files of a shard by their endings, then the index that lists them.

        Raises:
            OutputError: a file cannot be written, for example because the disk is full.
        """
        for ending, content in files.items():
            name = shard.name + ending
            self._write(name, content)
            digest = hashlib.sha256(content).hexdigest()
            self._entries[name] = Entry(name, shard.rows, digest, round(seconds, 3), nfe if ending == PARQUET else None)
        self._write_index()

    def _sorted(self, ending: str) -> list[Entry]:
        return [entry for name, entry in sorted(self._entries.items()) if name.endswith(ending)]

    def _write_index(self) -> None:
        """One line per file: readable, and fast to write for thousands of them."""
        head = {"version": VERSION, "question": self._question, "num": self.num}
        fields = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
        for key, ending in (("shards", PARQUET), ("sdf", SDF)):
            lines = ",\n".join(f"  {entry.line}" for entry in self._sorted(ending))
            fields.append(f' "{key}": [\n{lines}\n ]')
        self._write(INDEX, ("{\n" + ",\n".join(fields) + "\n}\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        try:
            with write_aside(self.path / name) as aside:
                aside.write_bytes(content)
        except OSError as error:
            raise OutputError(f"cannot write {self.path / name}: {error.strerror or error}.") from error

    def _read(self) -> None:
        if not (self.path / INDEX).exists():
            names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
            if any(name != LOCK and not name.startswith(_UNFINISHED) for name in names):  # a run may die that early
                raise OutputError(f"{self.path} is not empty and holds no {INDEX} of shards; choose another --out.")
            return
        try:
            stored = json.loads((self.path / INDEX).read_text())
            version, question = stored["version"], dict(stored["question"])
            entries = [Entry(**fields) for fields in (*stored["shards"], *stored["sdf"])]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path / INDEX} is no index of shards; choose another --out.") from error
        if version != VERSION:
            raise OutputError(f"{self.path / INDEX} has version {version}; this program continues {VERSION}.")
        self._compare(question)
        self._entries = {entry.name: entry for entry in entries}

    def _compare(self, stored: Mapping[str, Any]) -> None:
        """OutputError that names the first difference; the name of a checkpoint is none."""
        for key in {**self._question, **stored}:
            value = self._question.get(key)
            if key == "checkpoint" or stored.get(key) == value:
                continue
            there, here = f"{key}={stored.get(key)}", str(value)
            if key == "fingerprint":
                there = f"checkpoint {stored.get('checkpoint')} ({stored.get(key)})"
                here = f"{self._question.get('checkpoint')} ({value})"
            raise OutputError(f"{self.path} holds molecules with {there}, not {here}; choose another --out.")


def shards_of(num: int, size: int) -> list[Shard]:
    """The shards of `num` molecules, `size` in each but perhaps the last.

    Raises:
        ConfigError: more than 100,000 of them.
    """
    count = -(-num // size)
    if count > MOST_SHARDS:
        raise ConfigError(f"{num} molecules in shards of {size} are {count} shards; at most {MOST_SHARDS} are allowed.")
    return [Shard(number, number * size, min(size, num - number * size)) for number in range(count)]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock on a file, or refuse at once if another process has it.

    Yields False on a file system without locks. Two runs could then work side by side: they would do the work twice,
    but write equal files, and the one that ends last leaves a complete index.

    Raises:
        OutputError: another process holds the lock, or the file cannot be written.
    """
    with lock_file(path) as file:
        alone = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another run is writing to {path.parent}; wait for it, or choose another --out."
            ) from error
        except OSError:
            alone = False
        yield alone
