"""The index of a folder of shards, `index.json`: what was asked, and which files are finished.

It ends with the SHA-256 of everything before, so that damage to it is noticed; then it can be rebuilt, because every
shard carries the same about itself in its footer.
"""

import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from ead_core.common.documents import Document, parse_json
from ead_core.data.parquet import parquet_entries
from ead_core.data.shard_folders import SHARD_ENTRY, ShardQuestion
from ead_core.errors import DataError, OutputError, VersionError
from ead_core.sampling.ledger import InRange, Ledger
from ead_platform.generation.places import Place

VERSION: Final = 3
PARQUET, SDF = ".parquet", ".sdf.gz"
ACCEPT, MATCH = "accept", "match"  # keys of a question
SURPLUS = "more than asked for"  # why an accepted molecule is left out
SHARD_FILE = re.compile(r"shard-\d{5}(\.parquet|\.sdf\.gz)")
_CHECKSUM = ',\n "sha256": "'


class DamagedIndexError(Exception):
    """What is stored is not what was written."""


@dataclass(frozen=True)
class Entry:
    """A shard file that is finished, as the index lists it.

    Attributes:
        name: of the file.
        rows: molecules that were asked for, or wishes.
        sha256: of its bytes.
        seconds: that it took; None if nobody knows any more.
        nfe: mean network calls per attempt (parquet only).
        faults: how many molecules are unusable, by reason (parquet only).
        refused: how many molecules are left out since they are not what is accepted, by reason (parquet only).
        attempts: molecules that were sampled for it; None if as many as it has rows.
    """

    name: str
    rows: int
    sha256: str
    seconds: float | None = None
    nfe: float | None = None
    faults: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    attempts: int | None = None

    @property
    def made(self) -> int:
        """Molecules that were sampled for it."""
        return self.rows if self.attempts is None else self.attempts

    @property
    def delivered(self) -> int:
        """Molecules that the file holds."""
        return self.made - sum(self.refused.values())

    @cached_property
    def line(self) -> str:
        """The entry as JSON, kept because the index is rewritten after every shard."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({name: value for name, value in values.items() if value not in (None, {})})


class IndexDocument(Document):
    """The index as it is stored, but for its checksum."""

    kind: ClassVar[str] = "an index of shards"

    version: Literal[3]
    question: dict[str, Any]
    num: int
    until: int | None = None
    shards: list[Entry]
    sdf: list[Entry]


class ShardFooter(ShardQuestion):
    """What a shard's parquet file says about itself in its footer, for when the index is lost (see `Entry`).

    Nothing that varies is in it, so that equal shards have equal bytes.
    """

    name: str
    rows: int
    nfe: float
    faults: dict[str, int]
    refused: dict[str, int] = Field(default_factory=dict)
    attempts: int | None = None


@dataclass(frozen=True)
class Index:
    """What was asked, and what there is.

    Attributes:
        question: everything that the molecules depend on.
        num: molecules that were wanted last.
        entries: the finished files by name.
        asked: how many were to be delivered last; None if all that are accepted, or without such criteria.
        until: the most that a run was to deliver; what is more is left out. None if a run kept all that are accepted.
        in_range: how many are in the ranges asked for, once it is known of all.
        met: wishes of a table whose molecules are in all of their ranges, once it is known of all.
    """

    question: Mapping[str, Any]
    num: int = 0
    entries: Mapping[str, Entry] = field(default_factory=dict)
    asked: int | None = None
    until: int | None = None
    in_range: InRange | None = None
    met: int | None = None

    @property
    def ledger(self) -> Ledger | None:
        """What became of the attempts; None if all are kept."""
        if ACCEPT not in self.question:
            return None
        shards = self.molecules
        refused = sum((Counter(entry.refused) for entry in shards), Counter())
        surplus, beyond = (
            refused.pop(SURPLUS, 0),
            sum(entry.refused.get(SURPLUS, 0) * (entry.nfe or 0) for entry in shards),
        )
        attempts = sum(entry.made for entry in shards) - surplus
        counted = InRange.counted(self.question[ACCEPT], attempts - refused.total(), refused)
        return Ledger(
            accept=self.question[ACCEPT],
            asked=self.asked,
            attempts=attempts,
            delivered=attempts - refused.total(),
            refused=dict(refused.most_common()),
            calls=round(sum(entry.made * (entry.nfe or 0) for entry in shards) - beyond),
            surplus=surplus,
            surplus_calls=round(beyond),
            seconds=sum(entry.seconds or 0 for entry in shards),
            stopped=sum(entry.rows for entry in shards) < self.num,
            in_range=None if MATCH in self.question else self.in_range or counted,
            **({} if self.met is None else {"met": self.met}),
        )

    def asked_for(self, asked: int | None) -> "Index":
        """The index of a run that is to deliver so many, or all that are accepted.

        What an earlier run was to deliver stays. Shards of which it left out what was more are forgotten if that is
        wanted now, so that they are made again.
        """
        if not self.entries:
            return replace(self, asked=asked, until=asked)
        until = None if asked is None or self.until is None else max(asked, self.until)
        cut = {name.partition(".")[0] for name, entry in self.entries.items() if SURPLUS in entry.refused}
        wanted = cut if until != self.until else set[str]()
        entries = {name: entry for name, entry in self.entries.items() if name.partition(".")[0] not in wanted}
        return replace(self, asked=asked, until=until, entries=entries)

    @property
    def molecules(self) -> list[Entry]:
        """The finished shards in their order."""
        return self.of_kind(PARQUET)

    def of_kind(self, ending: str) -> list[Entry]:
        """The files with an ending, in their order."""
        return [entry for name, entry in sorted(self.entries.items()) if name.endswith(ending)]

    def encode(self) -> bytes:
        """One line per file: readable, and fast to write for thousands of them."""
        head: dict[str, Any] = {"version": VERSION, "question": self.question, "num": self.num}
        if self.until is not None:
            head["until"] = self.until
        if self.ledger:
            head["ledger"] = self.ledger.to_json()
        texts = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
        for key, ending in (("shards", PARQUET), ("sdf", SDF)):
            lines = ",\n".join(f"  {entry.line}" for entry in self.of_kind(ending))
            texts.append(f' "{key}": [\n{lines}\n ]')
        body = "{\n" + ",\n".join(texts)
        return f'{body}{_CHECKSUM}{_sha256(body)}"\n}}\n'.encode()


def decode_index(content: bytes, path: str) -> Index:
    """The index in a file's content.

    Raises:
        DamagedIndexError: it is none, or not as it was written.
        OutputError: it names files outside of its folder, or was written by another version of this program.
    """
    text = content.decode(errors="replace")
    body, _, checksum = text.rpartition(_CHECKSUM)
    whole = checksum.startswith(_sha256(body))
    try:
        stored = IndexDocument.parse(parse_json(text, path), path)
    except VersionError as error:
        if body and not whole:
            raise DamagedIndexError from error
        raise OutputError(str(error)) from error
    except (DataError, ValueError) as error:
        raise DamagedIndexError from error
    entries = {entry.name: entry for entry in (*stored.shards, *stored.sdf)}
    for name in entries:
        if Path(name).name != name or name == "..":
            raise OutputError(
                f"{path} lists '{name}', which is not a file of its folder; remove the index, and it is rebuilt "
                "from the shards."
            )
    if not whole or not all(map(SHARD_FILE.fullmatch, entries)):
        raise DamagedIndexError
    return Index(stored.question, stored.num, entries, until=stored.until)


def own_entry(
    question: Mapping[str, Any],
    name: str,
    rows: int,
    nfe: float,
    faults: Mapping[str, int],
    refused: Mapping[str, int] | None = None,
    attempts: int | None = None,
) -> dict[str, str]:
    """The entry of a parquet file's footer with a `ShardFooter`.

    `refused` is None if all molecules are kept, `attempts` if as many were made as there are rows.
    """
    about: dict[str, Any] = {} if refused is None else {"refused": dict(refused)}
    about |= {} if attempts is None else {"attempts": attempts}
    footer = ShardFooter(
        version=VERSION, question=dict(question), name=name, rows=rows, nfe=nfe, faults=dict(faults), **about
    )
    return {SHARD_ENTRY: json.dumps(footer.to_json())}


def entry_of(place: Place, name: str) -> tuple[Mapping[str, Any], Entry] | None:
    """The question of a shard and its entry, by what it says itself; None if it is damaged, or of another name."""
    try:
        content = place.read(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            footer = ShardFooter.parse(parse_json(parquet_entries(path)[SHARD_ENTRY], name), name)
    except (DataError, OSError, ValueError, KeyError):
        return None
    if footer.name != name:
        return None
    outcome = footer.nfe, footer.faults, footer.refused, footer.attempts
    return footer.question, Entry(name, footer.rows, hashlib.sha256(content).hexdigest(), None, *outcome)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
