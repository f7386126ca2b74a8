"""Waiting for other processes of this machine."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ead_core.errors import OutputError


@contextmanager
def held(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock on a file for the length of a block; the system frees it however the process ends.

    Args:
        path: of the file, made if it is missing.
        waiting: called once if another process holds it.

    Raises:
        OutputError: the file cannot be written or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise OutputError(f"cannot lock {path}: {error.strerror or error}.") from error
        yield
