"""Finished shards that an index does not list yet.

Writing the index takes time that grows with the number of shards, so it is not written after each of many: the shards
themselves say all that it would, under a checksum of their own. Whoever continues a run that was killed takes them in.
"""

from dataclasses import replace

from ead_platform.generation.places import Place
from ead_platform.generation.shard_index import PARQUET, SDF, SHARD_FILE, SURPLUS, Entry, Index, entry_of

LISTED = 100  # an index of more shards is only written when it grows by a share of 1 to so many


def is_worth_writing(listed: int, new: int) -> bool:
    """Whether to write an index of so many shards, of which so many are new since it was written.

    Up to 100 it is written for each, later for every per cent more, so that a shard costs the same at any number.
    """
    return new * LISTED >= listed


def with_unlisted(place: Place, index: Index) -> Index:
    """An index with the whole shards of a place that it does not list, if they are of its question."""
    names = [name for name in place.names() if SHARD_FILE.fullmatch(name) and name.endswith(PARQUET)]
    found = {name: uncut_entry(place, name, index) for name in names if name not in index.entries}
    new = {name: entry for name, entry in found.items() if entry}
    return with_entries(index, new) if new else index


def with_entries(index: Index, new: dict[str, Entry]) -> Index:
    """An index with other parquet files; SDF of those before them does not count any more."""
    old = {name.removesuffix(PARQUET) + SDF for name in new}
    kept = {name: entry for name, entry in index.entries.items() if name not in old}
    return replace(index, entries={**kept, **new})


def uncut_entry(place: Place, name: str, index: Index) -> Entry | None:
    """The entry of a parquet file of an index's question; None if there is none, it is damaged, or it was cut.

    One that was cut must be made again, since nobody knows whether for this run.
    """
    found = entry_of(place, name)
    return found[1] if found and found[0] == index.question and SURPLUS not in found[1].refused else None
