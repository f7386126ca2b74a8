"""The index of a folder: as its file has it, or as the shards themselves say, where that is lost or damaged."""

from collections.abc import Mapping
from typing import Any

from ead_core.data.shard_folders import INDEX
from ead_core.errors import OutputError
from ead_platform.generation.places import Place
from ead_platform.generation.shard_index import (
    PARQUET,
    SHARD_FILE,
    SURPLUS,
    DamagedIndexError,
    Entry,
    Index,
    decode_index,
    entry_of,
)

MOST_BYTES = 2**27  # of an index; MOST_SHARDS need a third of it


def stored_index(place: Place) -> Index | None:
    """The index in its file; None if that is damaged (OutputError: it cannot be read)."""
    file = f"{place}/{INDEX}"
    try:
        content = place.read(INDEX)
        return decode_index(content, file) if len(content) < MOST_BYTES else None
    except OSError as error:
        raise OutputError(f"cannot read {file}: {error.strerror or error}.") from error
    except DamagedIndexError:
        return None


def recovered_index(place: Place, state: str) -> Index:
    """The index from the shards; its file is `missing` or `damaged`.

    Raises:
        OutputError: there is no whole shard, or they are of different questions.
    """
    found = rebuild_index(place)
    if found is None and state == "missing":
        raise OutputError(f"{place} is not empty and holds no {INDEX} of shards; choose another --out.")
    if found is None:
        raise OutputError(f"{place}/{INDEX} is no index of shards; choose another --out.")
    return found


def rebuild_index(place: Place) -> Index | None:
    """The index of the undamaged shards in a place; None if there are none.

    Raises:
        OutputError: shards of different questions.
    """
    found: dict[str, Entry] = {}
    question: Mapping[str, Any] | None = None
    for name in sorted(place.names()):
        if not (SHARD_FILE.fullmatch(name) and name.endswith(PARQUET)) or (own := entry_of(place, name)) is None:
            continue
        if question not in (None, own[0]):
            raise OutputError(f"{place} has lost its {INDEX}, and its shards are of different settings.")
        question, found[name] = own
    return None if question is None else Index(question, 0, found, until=_cut_at(list(found.values())))


def _cut_at(shards: list[Entry]) -> int:
    """After how many molecules a run has left out the others; 0 if none has, as where it was killed before."""
    first = next((number for number, entry in enumerate(shards) if SURPLUS in entry.refused), -1)
    return sum(entry.delivered for entry in shards[: first + 1])
