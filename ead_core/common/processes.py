"""Processes that work for another one."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import types
from collections.abc import Iterator, MutableMapping
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any


def end_with_parent() -> None:
    """Make this process end as soon as the one that started it is gone, however that ended.

    A terminated or killed process takes no leave of its pool, whose processes would finish what they work on for
    nobody, or wait forever. To be called first in a process of multiprocessing (an `initializer`).
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


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


class OneThreadEach(SpawnContext):
    """How processes for one core each are started: from nothing, since a fork would copy threads and locks."""

    Process = _Process
