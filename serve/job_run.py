"""One job from where it stands to its end, by the engine of batch generation, in a folder of shards of its own."""

from collections.abc import Callable, Sequence
from typing import Protocol

from ead_platform.generation.deliveries import Settlement, rounds
from ead_platform.generation.making import FinishedShard
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_numbers import Shard, Task
from ead_platform.generation.shards import ShardFolder

from serve.job_progress import Pace, StoredProgress, progress_of

Finished = Callable[[Task, FinishedShard], None]


class Makers(Protocol):
    """Who makes shards: the actors of a cluster, or a test."""

    def __call__(
        self, plan: GenerationPlan, tasks: Sequence[Task], content: Callable[[Shard], bytes], finished: Finished
    ) -> None:
        """Do all tasks; what `finished` raises ends the work."""


def run(where: str, plan: GenerationPlan, make: Makers, report: Callable[[StoredProgress], None]) -> None:
    """Make what is missing of a job.

    Args:
        where: its folder, new or of an earlier run.
        plan: what is asked.
        make: who makes the shards.
        report: receives how far the job has come, after every shard; what it raises ends the run.

    Raises:
        OutputError: the folder cannot be written, or another run is at work in it.
        GenerationError: a shard cannot be made.
    """
    folder = ShardFolder(where, plan.question(), plan.asked)
    with folder.opened():
        _Run(folder, plan, make, report).go()


class _Run:
    """See `run`."""

    def __init__(
        self, folder: ShardFolder, plan: GenerationPlan, make: Makers, report: Callable[[StoredProgress], None]
    ) -> None:
        self._folder, self._plan, self._make, self._report = folder, plan, make, report
        self._settlement, self._pace, self._missing = Settlement(folder, plan), Pace(), set[int]()

    def go(self) -> None:
        for tasks in rounds(self._folder, self._plan, False, self._settlement):
            self._missing = {task.shard.number for task in tasks}
            self._tell()
            if tasks:
                self._make(self._plan, tasks, self._folder.content, self._finished)
        self._tell()

    def _finished(self, task: Task, made: FinishedShard) -> None:
        add = self._folder.add
        add(task.shard, made.files, made.seconds, made.nfe, made.faults, made.refused, made.attempts)
        self._missing.discard(task.shard.number)
        self._tell()

    def _tell(self) -> None:
        self._settlement.settle(self._missing)
        self._report(progress_of(self._folder, self._plan, self._settlement, self._pace))
