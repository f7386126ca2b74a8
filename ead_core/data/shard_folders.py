"""Folders of shards, as generations write them: which shards are missing, and what was asked of one."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from ead_core.common.documents import Document, read_json
from ead_core.errors import DataError

INDEX = "index.json"
SHARD_ENTRY = "ead.shard"  # of the footer of a shard's parquet file
MOST_SHARDS = 100_000  # numbers have five digits, so that the order of the names is the order of the molecules


class _Question(BaseModel):
    shard_size: int = Field(ge=1)


class _Shard(BaseModel):
    name: str


class ShardList(Document):
    """What an index says of its shards; the rest of it is the business of the generation.

    Attributes:
        question: what was asked, with the molecules per shard.
        num: molecules that the folder is to have.
        shards: those that are finished.
    """

    kind: ClassVar[str] = "an index of shards"

    version: Literal[2, 3]
    question: _Question
    num: int
    shards: list[_Shard]

    def names(self) -> set[str]:
        """Of the files that the folder is to have, and of those that it once had."""
        count = min(-(-self.num // self.question.shard_size), MOST_SHARDS)
        return {shard.name for shard in self.shards} | {f"shard-{number:05d}.parquet" for number in range(count)}


class ShardQuestion(Document):
    """What the footer of a shard says of how its molecules are made: everything that they depend on, by name."""

    kind: ClassVar[str] = "the footer of a shard"

    version: Literal[2, 3]
    question: dict[str, Any]


def missing_shards(folder: Path) -> str:
    """A sentence if a folder of shards is not whole; '' if it is, or has no index that can be read."""
    try:
        names = ShardList.parse(read_json(folder / INDEX), INDEX).names()
    except (OSError, ValueError, DataError):
        return ""
    missing = sorted(name for name in names if not (folder / name).is_file())
    if not missing:
        return ""
    return (
        f"{folder} lacks {len(missing):,} of the {len(names):,} shards that its {INDEX} names ({missing[0]} first);"
        " only the others are read."
    )
