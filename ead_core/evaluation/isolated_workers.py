"""Work on molecules in other processes, so that one molecule that hangs or crashes RDKit costs only itself.

A chunk whose process dies, or is ended because one molecule took too long, is done again molecule by molecule, and a
molecule that fails then, stage by stage; what fails by itself is left out under a named reason. A process that died is
replaced, and all end with the one that started them.
"""

import contextlib
import faulthandler
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, NamedTuple, TypeVar

from pebble import ProcessExpired, ProcessPool

from ead_core.common.processes import end_with_parent
from ead_core.errors import one_line
from ead_core.evaluation.chunk import Chunk

SECONDS = 60.0  # for one molecule; a drug takes four of them with PoseBusters' full checks
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


class _Process(SpawnProcess):
    """Has one thread for numbers, and does not run the caller's script again, as Python's own does.

    Our tasks need nothing of the script, which thus needs no `if __name__ == "__main__":`. There are as many processes
    as cores; more threads than cores would wait for each other.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # Python's own name
        without_file = types.ModuleType("__main__")
        with _replaced(sys.modules, "__main__", without_file), _replaced(os.environ, "OMP_NUM_THREADS", "1"):
            return SpawnProcess._Popen(process_obj)


@contextlib.contextmanager
def _replaced(mapping: MutableMapping[str, Any], key: str, value: Any) -> Iterator[None]:
    before = mapping.get(key)
    mapping[key] = value
    try:
        yield
    finally:
        if before is None:
            del mapping[key]
        else:
            mapping[key] = before


class _Context(SpawnContext):
    Process = _Process


class Outcome(NamedTuple, Generic[Result]):
    """A chunk, what came of it (of each stage that succeeded, if it was done in stages), and why something did not.

    Where there is a failure, the chunk is a single molecule.
    """

    chunk: Chunk
    results: tuple[Result, ...]
    failure: str = ""


Task = Callable[[Chunk], Result]


def done_apart(
    task: Task[Result],
    work: Iterable[tuple[Origin, Chunk]],
    workers: int,
    stages: Mapping[str, Task[Result]] | None = None,
) -> Iterator[tuple[Origin, list[Outcome[Result]]]]:
    """Outcomes of each chunk, in order: one, or one per molecule if the chunk had to be taken apart.

    Args:
        task: of a module, since it is sent to processes that start afresh; it guards each molecule by `time_limit`.
        work: chunks, read as they are needed, each with what the caller wants back beside its outcomes.
        workers: processes.
        stages: by name, what the task does to a molecule in pieces that need nothing of each other.
    """
    pool = ProcessPool(max_workers=workers, initializer=end_with_parent, context=_Context())
    waiting: deque[tuple[Origin, Chunk, Any]] = deque()
    try:
        for origin, chunk in work:
            waiting.append((origin, chunk, pool.schedule(task, args=(chunk,))))
            if len(waiting) >= _AHEAD * workers:
                yield _finish(pool, task, stages or {}, *waiting.popleft())
        while waiting:
            yield _finish(pool, task, stages or {}, *waiting.popleft())
        pool.close()
    finally:
        pool.stop()  # also when the caller has had enough, or was interrupted
        pool.join()


def _finish(
    pool: ProcessPool,
    task: Task[Result],
    stages: Mapping[str, Task[Result]],
    origin: Origin,
    chunk: Chunk,
    future: Any,
) -> tuple[Origin, list[Outcome[Result]]]:
    whole = _outcome(chunk, future)
    if not whole.failure:
        return origin, [whole]
    singles = [chunk.single(index) for index in range(len(chunk))] if len(chunk) > 1 else []
    futures = [pool.schedule(task, args=(single,)) for single in singles]
    outcomes = [_outcome(single, one) for single, one in zip(singles, futures, strict=True)] or [whole]
    return origin, [_in_stages(pool, stages, one) if one.failure and stages else one for one in outcomes]


def _in_stages(pool: ProcessPool, stages: Mapping[str, Task[Result]], failed: Outcome[Result]) -> Outcome[Result]:
    """One molecule again, to keep what does not fail."""
    chunk = failed.chunk
    futures = {name: pool.schedule(stage, args=(chunk,)) for name, stage in stages.items()}
    outcomes = {name: _outcome(chunk, future) for name, future in futures.items()}
    reasons: dict[str, list[str]] = {}
    for name, one in outcomes.items():
        if one.failure:
            reasons.setdefault(one.failure, []).append(name)
    explanation = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return Outcome(chunk, tuple(result for one in outcomes.values() for result in one.results), explanation)


def _outcome(chunk: Chunk, future: Any) -> Outcome[Any]:
    try:
        return Outcome(chunk, (future.result(),))
    except ProcessExpired as error:
        ended = f"it ended the process that worked on it (exit code {error.exitcode})"
        return Outcome(chunk, (), "it took too long" if error.exitcode == _TOO_LONG else ended)
    except Exception as error:  # whatever a chemistry library raises must cost one molecule only
        return Outcome(chunk, (), f"{type(error).__name__}: {one_line(error)}")
