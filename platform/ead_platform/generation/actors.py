"""The actors of a Ray cluster that make the shards of a generation, and what happens when one of them dies."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayError, RayTaskError

from ead_core.errors import one_line
from ead_platform.generation.making import FinishedShard, ShardMaker
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_numbers import Shard, Task

POLL = 2  # seconds between two looks at whether somebody has cancelled the run
PATIENCE = 20  # seconds without a free place in the cluster before it is said
DEATHS = 3  # per actor, in a row without a finished shard: then the work itself must be what kills them


class GenerationError(Exception):
    """A shard cannot be made; what was finished before is kept."""


class ActorPool:
    """The actors of a run and what each is doing.

    Args:
        plan: travels to the actors through Ray, so no shared file system is needed.
        actors: how many.
        content: reads the parquet file of a finished shard.
        finished: receives each task with what was made of it.
        say: receives news for people.
        check: called every few seconds; what it raises ends the work.
    """

    def __init__(
        self,
        plan: GenerationPlan,
        actors: int,
        content: Callable[[Shard], bytes],
        finished: Callable[[Task, FinishedShard], None],
        say: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._plan, self._actors = plan, actors
        self._content, self._finished, self._say, self._check = content, finished, say, check
        self._maker = ray.remote(num_cpus=plan.threads, num_gpus=plan.gpus)(ShardMaker)
        self._doing: dict[Any, tuple[Any, Task | None]] = {}  # by promised result; no task while an actor starts
        self._waiting: deque[Task] = deque()
        self._deaths = 0  # since the last finished task

    def work(self, tasks: Sequence[Task]) -> None:
        """Do all tasks; the actors end with it, however it ends.

        Raises:
            GenerationError: a task failed other than by the death of its actor, or actors keep dying.
        """
        self._waiting.extend(tasks)
        try:
            self._shared = ray.put(self._plan)
            for _ in range(self._actors):
                self._start_actor()
            while self._waiting or any(task for _, task in self._doing.values()):
                self._turn(self._next())
        except RayTaskError as error:
            raise GenerationError(f"{type(error.cause).__name__}: {one_line(error.cause)}.") from error
        except RayError as error:
            raise GenerationError(f"{type(error).__name__}: {one_line(error)}.") from error
        finally:
            for actor, _ in self._doing.values():
                with contextlib.suppress(RayError):
                    ray.kill(actor)

    def _start_actor(self) -> None:
        actor: Any = self._maker.remote(self._shared)
        self._doing[actor.__ray_ready__.remote()] = actor, None

    def _next(self) -> Any:
        """Wait for a promised result."""
        starting, waited = not any(task for _, task in self._doing.values()), 0
        while not (ready := self._ready()):
            waited += POLL
            if starting and waited == PATIENCE:
                self._say(f"waiting until the cluster has {self._plan.threads} CPUs and {self._plan.gpus:g} GPUs free")
        return ready[0]

    def _ready(self) -> list[Any]:
        """The next promised result if it comes within `POLL` seconds."""
        self._check()
        return ray.wait(list(self._doing), num_returns=1, timeout=POLL)[0]

    def _turn(self, result: Any) -> None:
        """Take a result, and give its actor the next task; without one the actor ends and makes room."""
        actor, task = self._doing.pop(result)
        try:
            made = ray.get(result)
        except (RayActorError, ObjectLostError) as error:
            self._replace(error, task)
            return
        if task:
            self._deaths = 0
            self._finished(task, made)
        if self._waiting:
            task = self._waiting.popleft()
            parquet = None if task.sample else self._content(task.shard)
            self._doing[actor.make.remote(task, parquet)] = actor, task

    def _replace(self, error: Exception, task: Task | None) -> None:
        """Start another actor for one that died, unless it failed to start or too many have died."""
        doing = f"while making {task.shard.name}" if task else "while starting"
        if getattr(error, "actor_init_failed", False):
            raise GenerationError(f"an actor could not start: {str(error).splitlines()[-1]}.") from error
        self._deaths += 1
        if self._deaths > DEATHS * self._actors:
            raise GenerationError(
                f"{self._deaths} actors died in a row, the last {doing}; often memory is short: "
                "use fewer --actors or a smaller sampler.batch_size."
            ) from error
        self._say(f"an actor died {doing}; another takes its place")
        if task:
            self._waiting.append(task)  # last in the queue: should it be deadly, the others are done by then
        self._start_actor()
