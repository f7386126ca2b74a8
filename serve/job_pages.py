"""Pages of a job's molecules, read from its shards while others are still being made.

Only shards that are final are read, so a page never changes: places count the molecules from the first shard on.
"""

from typing import NamedTuple

import numpy as np
from ead_platform.generation.places import place_of
from ead_platform.generation.shard_files import decode_shard
from ead_platform.generation.status import index_of

from ead_core.data.store import MoleculeSet
from ead_core.errors import OutputError
from ead_core.sampling.passport import Passport
from serve.job_progress import StoredProgress


class Page(NamedTuple):
    """Molecules, and how they were made; None if there are none yet."""

    molecules: MoleculeSet
    passport: Passport | None


class GoneError(Exception):
    """The molecules were there and are not any more: somebody has removed the folder."""


def page(where: str, progress: StoredProgress, first: int, limit: int) -> Page:
    """At most so many molecules of a job, from a place on.

    Args:
        where: the job's folder.
        progress: which of its shards are final, and how many molecules they deliver.
        first: how many molecules to pass over.
        limit: how many to take.

    Raises:
        GoneError: there is no such folder.
    """
    left = range(first, min(first + limit, progress.delivered))
    if not left:
        nothing = {name: np.zeros(0, dtype=np.int64) for name in ("id", "nfe")}
        return Page(MoleculeSet.from_lists([], [], nothing), None)
    try:
        place = place_of(where)
        index = index_of(place)
        parts, begin = [], 0
        for entry in index.molecules[: progress.shards]:
            end = begin + entry.delivered
            chosen = range(max(begin, left.start), min(end, left.stop))
            if chosen:
                own = decode_shard(place.read(entry.name))
                parts.append(own[chosen.start - begin : chosen.stop - begin])
            begin = end
    except (OSError, OutputError) as error:
        raise GoneError from error
    return Page(MoleculeSet.concatenate(parts), Passport.of_question(index.question, where))
