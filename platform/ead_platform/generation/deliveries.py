"""The rounds of a generation, and what is delivered of its shards where only accepted molecules are.

What compares molecules with others is decided here, shard after shard in the order of their numbers, so that the same
ones are refused whatever the number of actors and however often a run was killed. So is how many shards there are to
be: it follows from what the shards of the rounds before have delivered, and a continued run goes through these again.
"""

import math
from collections.abc import Collection, Iterator

from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.order import MatchOrder
from ead_platform.generation.passports import INCHIKEY
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_files import decode_shard
from ead_platform.generation.shard_index import SURPLUS
from ead_platform.generation.shard_numbers import Shard, Task, shards_of
from ead_platform.generation.shards import ShardFolder
from ead_platform.generation.unmet_rows import write_unmet


class Settlement:
    """Decides of the shards of a folder which are final, one after the other from the first.

    Args:
        folder: open for a run.
        plan: what is asked.

    Attributes:
        delivered: molecules in each shard that is final.
    """

    def __init__(self, folder: ShardFolder, plan: GenerationPlan) -> None:
        self._folder, self._size = folder, plan.shard_size
        self._novelty = Novelty(plan.order.accept, None) if plan.order else None
        self.delivered: list[int] = []

    def settle(self, missing: Collection[int] = ()) -> None:
        """Go on until the first shard whose number is among the missing.

        Molecules are refused for what those before them are. A shard that has been through this loses nothing more.
        """
        for shard in shards_of(self._folder.num, self._size)[len(self.delivered) :]:
            if shard.number in missing:
                break
            self._compare(shard)
            self.delivered.append(self._folder.delivered(shard))

    def _compare(self, shard: Shard) -> None:
        novelty = self._novelty
        if novelty and novelty.compares and self._folder.delivered(shard):
            keys = decode_shard(self._folder.content(shard)).properties[INCHIKEY].tolist()
            refusals = [novelty.refusal(key or None) for key in keys]
            if any(refusals):
                self._folder.refuse(shard, refusals)


def rounds(
    folder: ShardFolder, plan: GenerationPlan, sdf: bool, settlement: Settlement | None = None
) -> Iterator[list[Task]]:
    """What is to be made, a list after the other; each is finished before the next is asked for.

    Whoever wants to know meanwhile which shards are final gives the `settlement` and has it go on.
    """
    shards = plan.shards()
    if plan.order is None:
        yield folder.left(shards, sdf)
        return
    settlement, wanted = settlement or Settlement(folder, plan), 0
    while (more := _wanted(plan, shards, settlement.delivered[:wanted])) > wanted:
        wanted = more
        yield folder.left(shards[:wanted], sdf)
        settlement.settle()  # of all that are there, since an earlier run may have wanted more
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
