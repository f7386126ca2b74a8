"""Waiting for a lock on a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from ead_core.common.locks import lock_file
from ead_core.errors import OutputError


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
            if not lock_descriptor(file.fileno(), blocking=False):
                waiting()
                lock_descriptor(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot lock {path}: {error.strerror or error}.") from error
        yield
