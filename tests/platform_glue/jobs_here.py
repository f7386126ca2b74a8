"""A worker of jobs whose shards are made in this process: no Ray."""

from ead_platform.generation.making import ShardMaker

from serve.job_worker import JobWorker


class MakersHere:
    """Who makes shards, in an order of its own, and may be interrupted before any of them.

    Attributes:
        made: numbers of the shards that were made.
    """

    def __init__(self, order=list, before=lambda task: None):
        self._order, self._before, self.made = order, before, []

    def __call__(self, check):
        def make(plan, tasks, content, finished):
            maker = ShardMaker(plan)
            for task in self._order(tasks):
                self._before(task)
                check()
                finished(task, maker.make(task, None))
                self.made.append(task.shard.number)

        return make


def finish(settings, makers=None):
    """Work until nothing is left; the worker, whose look at the database is the caller's to ask for."""
    worker = JobWorker(settings, makers or MakersHere())
    worker.look()
    while worker._running:
        for _, thread in worker._running:
            thread.join(60)
        worker.look()
    return worker
