"""What the service does beside answering: jobs, and errands that would keep the interface from answering others."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ead_platform.generation.actors import ActorPool
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_numbers import Shard, Task

from serve.errands import Outcome, Refused, outcome
from serve.job_run import Finished, Makers
from serve.job_worker import JobWorker
from serve.settings import ServeSettings

logger = logging.getLogger("ray.serve")

AT_ONCE = 2  # errands, each a process of one thread


class Background:
    """One for a service: its worker of jobs, and who starts processes for errands.

    Args:
        settings: of the service, located.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._worker = JobWorker(settings, lambda check: actors(settings.job_actors, check))
        self._thread = threading.Thread(target=self._worker.work, name="jobs", daemon=True)
        self._thread.start()
        self._errand = ray.remote(num_cpus=0, max_retries=0)(outcome)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def apart(self, errand: Callable[..., Any], *given: Any, gpus: float = 0) -> Outcome:
        """What a function makes of its arguments, in a process of its own; it ends if nobody waits for it any more."""
        async with self._places:
            made = self._errand.options(num_gpus=gpus).remote(errand, *given)
            try:
                found: Outcome = await made
            except asyncio.CancelledError:
                ray.cancel(made, force=True)
                raise
            except ray.exceptions.RayError:
                logger.exception("An errand failed.")
                return Refused(None)
            return found

    def check_health(self) -> None:
        """RuntimeError once nobody works at jobs any more, upon which Ray Serve starts another replica."""
        if not self._thread.is_alive():
            raise RuntimeError("the worker of jobs has ended")

    def __del__(self) -> None:
        self._worker.stop()


def actors(most: int, check: Callable[[], None]) -> Makers:
    """Who makes the shards of a job: so many actors of the cluster at most."""

    def make(
        plan: GenerationPlan, tasks: Sequence[Task], content: Callable[[Shard], bytes], finished: Finished
    ) -> None:
        ActorPool(plan, min(most, len(tasks)), content, finished, logger.info, check).work(tasks)

    return make
