"""Which molecules a numbered shard has, and what is to be made of it."""

from dataclasses import dataclass

from ead_core.data.shard_folders import MOST_SHARDS
from ead_core.errors import ConfigError


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


def shards_of(num: int, size: int) -> list[Shard]:
    """The shards of `num` molecules, `size` in each but perhaps the last.

    Raises:
        ConfigError: more than 100,000 of them.
    """
    count = -(-num // size)
    if count > MOST_SHARDS:
        raise ConfigError(f"{num} molecules in shards of {size} are {count} shards; at most {MOST_SHARDS} are allowed.")
    return [Shard(number, number * size, min(size, num - number * size)) for number in range(count)]


def number_of(name: str) -> int:
    """Of a shard, from the name of a file."""
    return int(name.removeprefix("shard-").partition(".")[0])
