"""The rounds of a generation, and what is delivered of its shards where only accepted molecules are.

What compares molecules with others is decided here, shard after shard in the order of their numbers, so that the same
ones are refused whatever the number of actors and however often a run was killed. So is how many shards there are to
be: it follows from what the shards of the rounds before have delivered, and a continued run goes through these again.
"""

import math
from collections.abc import Iterator

from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.order import MatchOrder
from ead_platform.generation.passports import INCHIKEY
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_files import decode_shard
from ead_platform.generation.shard_index import SURPLUS
from ead_platform.generation.shards import Shard, ShardFolder, Task, shards_of
from ead_platform.generation.unmet_rows import write_unmet


def rounds(folder: ShardFolder, plan: GenerationPlan, sdf: bool) -> Iterator[list[Task]]:
    """What is to be made, a list after the other; each is finished before the next is asked for."""
    shards = plan.shards()
    if plan.order is None:
        yield folder.left(shards, sdf)
        return
    novelty, delivered, wanted = Novelty(plan.order.accept, None), list[int](), 0
    while (more := _wanted(plan, shards, delivered[:wanted])) > wanted:
        wanted = more
        yield folder.left(shards[:wanted], sdf)
        there = shards_of(folder.num, plan.shard_size)  # an earlier run may have wanted more
        delivered += [_settled(folder, shard, novelty) for shard in there[len(delivered) :]]
    _cut(folder, shards_of(folder.num, plan.shard_size))
    yield folder.left(shards[:wanted], sdf)  # SDF of shards that have lost molecules since
    _tell(folder, plan)


def _wanted(plan: GenerationPlan, shards: list[Shard], delivered: list[int]) -> int:
    """How many shards there are to be, by what each of the first has delivered; as many as these if that is enough."""
    if (until := plan.until) is None:
        return len(shards)
    attempts, enough = sum(shard.rows for shard in shards[: len(delivered)]), sum(delivered)
    if enough >= until:
        return len(delivered)
    further = math.ceil((until - enough) * attempts / enough) if enough else max(until, attempts)
    return min(len(shards), math.ceil((attempts + further) / plan.shard_size))


def _settled(folder: ShardFolder, shard: Shard, novelty: Novelty) -> int:
    """Refuse molecules of a finished shard for what those before it are; how many it delivers.

    A shard that has been through this loses nothing more.
    """
    if novelty.compares and folder.delivered(shard):
        keys = decode_shard(folder.content(shard)).properties[INCHIKEY].tolist()
        refusals = [novelty.refusal(key or None) for key in keys]
        if any(refusals):
            folder.refuse(shard, refusals)
    return folder.delivered(shard)


def _cut(folder: ShardFolder, shards: list[Shard]) -> None:
    """Leave out what the last shards hold beyond the number asked for, so that it is exactly this number."""
    if folder.until is None:
        return
    left = folder.until
    for shard in shards:
        there = folder.delivered(shard)
        if there > left:
            folder.refuse(shard, [""] * left + [SURPLUS] * (there - left))
        left = max(0, left - there)


def _tell(folder: ShardFolder, plan: GenerationPlan) -> None:
    """Have the ledger say how many of the delivered molecules are in their ranges in truth, or meet their wishes."""
    if isinstance(plan.order, MatchOrder) and plan.wishes:
        folder.tell(None, write_unmet(folder, plan.wishes))
    if (ranges := plan.ranges()) and folder.ledger:
        folder.tell(ranges.told_of_parts(folder.ledger, folder.parts).in_range)
