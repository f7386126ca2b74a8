"""Waiting for a lock on a file."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ead_core.common.locks import lock_file
from ead_core.errors import OutputError

__all__ = ["held", "lock_file"]


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
