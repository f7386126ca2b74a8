"""Locks on files, which keep processes of a machine apart and which the system frees however a process ends."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ead_core.errors import OutputError


def lock_file(path: Path) -> IO[str]:
    """The file that a lock is held on, made if it is missing; closing it gives the lock back.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error


@contextmanager
def held(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock on a file for the length of a block, after waiting for whoever has it.

    Args:
        path: of the file.
        waiting: called once if another process holds it.

    Raises:
        OutputError: the file cannot be written or locked.
    """
    with lock_file(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise OutputError(f"cannot lock {path}: {error.strerror or error}.") from error
        yield
