"""The index of a folder of shards, `index.json`: what was asked, and which files are finished.

It ends with the SHA-256 of everything before, so that damage to it is noticed; then it can be rebuilt, because every
shard carries the same about itself in its footer.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ead_core.data.parquet import parquet_entries
from ead_core.errors import DataError, OutputError

VERSION = 2
INDEX = "index.json"
PARQUET, SDF = ".parquet", ".sdf.gz"
SHARD_ENTRY = "ead.shard"
SHARD_FILE = re.compile(r"shard-\d{5}(\.parquet|\.sdf\.gz)")
_CHECKSUM = ',\n "sha256": "'


class DamagedIndexError(Exception):
    """What is stored is not what was written."""


@dataclass(frozen=True)
class Entry:
    """A shard file that is finished, as the index lists it.

    Attributes:
        name: of the file.
        rows: molecules that were sampled for it.
        sha256: of its bytes.
        seconds: that it took; None if nobody knows any more.
        nfe: mean network calls per molecule (parquet only).
        faults: how many molecules are unusable, by reason (parquet only).
    """

    name: str
    rows: int
    sha256: str
    seconds: float | None = None
    nfe: float | None = None
    faults: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def line(self) -> str:
        """The entry as JSON, kept because the index is rewritten after every shard."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({name: value for name, value in values.items() if value not in (None, {})})


@dataclass(frozen=True)
class Index:
    """What was asked, how many molecules were wanted last, and the finished files by name."""

    question: Mapping[str, Any]
    num: int = 0
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def of_kind(self, ending: str) -> list[Entry]:
        """The files with an ending, in their order."""
        return [entry for name, entry in sorted(self.entries.items()) if name.endswith(ending)]

    def encode(self) -> bytes:
        """One line per file: readable, and fast to write for thousands of them."""
        head = {"version": VERSION, "question": self.question, "num": self.num}
        texts = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
        for key, ending in (("shards", PARQUET), ("sdf", SDF)):
            lines = ",\n".join(f"  {entry.line}" for entry in self.of_kind(ending))
            texts.append(f' "{key}": [\n{lines}\n ]')
        body = "{\n" + ",\n".join(texts)
        return f'{body}{_CHECKSUM}{_sha256(body)}"\n}}\n'.encode()


def decode_index(content: bytes, path: Path) -> Index:
    """The index in a file's content.

    Raises:
        DamagedIndexError: it is none, or not as it was written.
        OutputError: it names files outside of its folder, or was written by another version of this program.
    """
    try:
        text = content.decode()
        stored = json.loads(text)
        listed = [*stored["shards"], *stored["sdf"]]
        for name in (entry["name"] for entry in listed):
            if Path(name).name != name or name == "..":
                raise OutputError(
                    f"{path} lists '{name}', which is not a file of its folder; remove the index, and it is rebuilt "
                    "from the shards."
                )
        body, _, checksum = text.rpartition(_CHECKSUM)
        whole = checksum.startswith(_sha256(body))
        if stored["version"] != VERSION and (whole or "sha256" not in stored):
            raise OutputError(f"{path} has version {stored['version']}; this program continues {VERSION}.")
        if not whole or not all(SHARD_FILE.fullmatch(entry["name"]) for entry in listed):
            raise DamagedIndexError
        return Index(stored["question"], stored["num"], {entry["name"]: Entry(**entry) for entry in listed})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedIndexError from error


def own_entry(
    question: Mapping[str, Any], name: str, rows: int, nfe: float, faults: Mapping[str, int]
) -> dict[str, str]:
    """What a shard's parquet file says about itself in its footer, for when the index is lost (see `Entry`).

    Nothing that varies is in it, so that equal shards have equal bytes.
    """
    about = {"version": VERSION, "question": question, "name": name, "rows": rows, "nfe": nfe, "faults": faults}
    return {SHARD_ENTRY: json.dumps(about)}


def rebuild_index(folder: Path) -> Index | None:
    """The index of the undamaged shards in a folder; None if there are none.

    Raises:
        OutputError: shards of different questions.
    """
    found: dict[str, Entry] = {}
    question: Mapping[str, Any] | None = None
    for path in sorted(folder.glob(f"shard-*{PARQUET}")):
        about = _about(path)
        if about is None:
            continue
        if question not in (None, about["question"]):
            raise OutputError(f"{folder} has lost its {INDEX}, and its shards are of different settings.")
        question = about["question"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.name] = Entry(path.name, about["rows"], digest, None, about["nfe"], about["faults"])
    return None if question is None else Index(question, 0, found)


def _about(path: Path) -> dict[str, Any] | None:
    """What a shard says about itself; None if it is damaged, or no shard of this name."""
    try:
        about = json.loads(parquet_entries(path)[SHARD_ENTRY])
        return about if about["version"] == VERSION and about["name"] == path.name else None
    except (DataError, OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
