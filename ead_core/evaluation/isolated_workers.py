"""Work on molecules in other processes, so that one molecule that hangs or crashes RDKit costs only itself.

A chunk whose process dies, or is ended because one molecule took too long, is done again molecule by molecule, and a
molecule that fails then, stage by stage; what fails by itself is left out under a named reason. A process that died is
replaced, and all end with the one that started them. One that was killed, by a person or by a system that is short of
memory, says nothing about its molecule, which is tried again.
"""

import contextlib
import faulthandler
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from pebble import ProcessExpired, ProcessPool

from ead_core.common.processes import OneThreadEach, end_with_parent
from ead_core.errors import one_line
from ead_core.evaluation.chunk import Chunk

SECONDS = 60.0  # for one molecule; a drug takes four of them with PoseBusters' full checks
_KILLED = "the process that worked on it was killed"
_AGAIN = 3  # times that a molecule is tried again whose process was killed
_SIGKILL = -9  # exit code
_TOO_LONG = 1  # exit code of a process whose molecule took too long
_AHEAD = 2  # chunks per process that are on their way, so that reading and measuring overlap in bounded memory

Origin = TypeVar("Origin")
Result = TypeVar("Result")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer; nothing gentler stops a loop in C++."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


class Outcome(NamedTuple, Generic[Result]):
    """A chunk, what came of it (of each stage that succeeded, if it was done in stages), and why something did not.

    Where there is a failure, the chunk is a single molecule.
    """

    chunk: Chunk
    results: tuple[Result, ...]
    failure: str = ""


Task = Callable[[Chunk], Result]


class IsolatedPool(Generic[Origin, Result]):
    """Processes that work on chunks; a context manager, at whose end they are stopped whatever they do.

    Args:
        task: of a module, since it is sent to processes that start afresh; it guards each molecule by `time_limit`.
        workers: processes.
        stages: by name, what the task does to a molecule in pieces that need nothing of each other.
    """

    def __init__(self, task: Task[Result], workers: int, stages: Mapping[str, Task[Result]] | None = None) -> None:
        self._task, self._stages = task, stages or {}
        self._pool = ProcessPool(max_workers=workers, initializer=end_with_parent, context=OneThreadEach())
        self._waiting: deque[tuple[Origin, Chunk, Task[Result], Any]] = deque()

    def __enter__(self) -> "IsolatedPool[Origin, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.stop()  # also when the caller has had enough, or was interrupted
        self._pool.join()

    def __len__(self) -> int:
        """Chunks submitted and not taken yet."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether `take` need not wait, unless the chunk has to be taken apart."""
        return bool(self._waiting) and self._waiting[0][3].done()

    def submit(self, origin: Origin, chunk: Chunk, task: Task[Result] | None = None) -> None:
        """Queue a chunk, with what the caller wants back beside its outcomes, and its task if it has one of its own."""
        own = task or self._task
        self._waiting.append((origin, chunk, own, self._pool.schedule(own, args=(chunk,))))

    def take(self) -> tuple[Origin, list[Outcome[Result]]]:
        """Outcomes of the oldest chunk: one, or one per molecule if it had to be taken apart."""
        origin, chunk, task, future = self._waiting.popleft()
        whole = _outcome(chunk, future)
        if not whole.failure:
            return origin, [whole]
        singles = [chunk.single(index) for index in range(len(chunk))] if len(chunk) > 1 else []
        futures = [self._pool.schedule(task, args=(single,)) for single in singles]
        outcomes = [_outcome(single, one) for single, one in zip(singles, futures, strict=True)] or [whole]
        outcomes = [_unless_killed(self._pool, task, one) for one in outcomes]
        return origin, [
            _in_stages(self._pool, self._stages, one) if one.failure and self._stages else one for one in outcomes
        ]


def done_apart(
    task: Task[Result],
    work: Iterable[tuple[Origin, Chunk]],
    workers: int,
    stages: Mapping[str, Task[Result]] | None = None,
) -> Iterator[tuple[Origin, list[Outcome[Result]]]]:
    """What `IsolatedPool.take` gives of each chunk, in order; chunks are read as they are needed."""
    with IsolatedPool[Origin, Result](task, workers, stages) as pool:
        for origin, chunk in work:
            pool.submit(origin, chunk)
            if len(pool) >= _AHEAD * workers:
                yield pool.take()
        while len(pool):
            yield pool.take()


def _in_stages(pool: ProcessPool, stages: Mapping[str, Task[Result]], failed: Outcome[Result]) -> Outcome[Result]:
    """One molecule again, to keep what does not fail."""
    chunk = failed.chunk
    futures = {name: pool.schedule(stage, args=(chunk,)) for name, stage in stages.items()}
    ended = {name: _outcome(chunk, future) for name, future in futures.items()}
    outcomes = {name: _unless_killed(pool, stages[name], one) for name, one in ended.items()}
    reasons: dict[str, list[str]] = {}
    for name, one in outcomes.items():
        if one.failure:
            reasons.setdefault(one.failure, []).append(name)
    explanation = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return Outcome(chunk, tuple(result for one in outcomes.values() for result in one.results), explanation)


def _unless_killed(pool: ProcessPool, task: Task[Result], ended: Outcome[Result]) -> Outcome[Result]:
    """What becomes of a molecule whose process was killed when it is tried again."""
    for _ in range(_AGAIN):
        if ended.failure != _KILLED:
            break
        ended = _outcome(ended.chunk, pool.schedule(task, args=(ended.chunk,)))
    return ended


def _outcome(chunk: Chunk, future: Any) -> Outcome[Any]:
    try:
        return Outcome(chunk, (future.result(),))
    except ProcessExpired as error:
        if error.exitcode == _SIGKILL:
            return Outcome(chunk, (), _KILLED)
        ended = f"it ended the process that worked on it (exit code {error.exitcode})"
        return Outcome(chunk, (), "it took too long" if error.exitcode == _TOO_LONG else ended)
    except Exception as error:  # whatever a chemistry library raises must cost one molecule only
        return Outcome(chunk, (), f"{type(error).__name__}: {one_line(error)}")
