"""Locks on files, which keep processes apart and which the system frees however a process ends.

They hold between all processes of a machine, whoever started them, and between machines that share a file system with
locks (NFS 4, Lustre with `flock`, CephFS). Where a file system has none (object stores and `sshfs` mounted as folders,
NFS mounted with `nolock`), nobody is kept out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from ead_core.errors import OutputError

LOCK = ".lock"


def lock_file(path: Path) -> IO[str]:
    """The file that a lock is held on, made if it is missing; closing it gives the lock back.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return path.open("a")
        except PermissionError:
            return path.open()  # left by another user; reading is enough to lock it
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error


def try_lock(file: IO[Any]) -> bool | None:
    """Take the lock on an open file without waiting: False if another process has it, None if there are no locks."""
    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError:
        return None


@contextmanager
def only_writer(folder: Path, refusal: str) -> Iterator[None]:
    """Keep all other writers out of a folder for the length of a block.

    Args:
        folder: made if it is missing, and removed again if the block leaves nothing in it.
        refusal: what to tell the user if another process is writing there.

    Raises:
        OutputError: another process is writing there, or the folder cannot be written.
    """
    path, found = folder / LOCK, folder.exists()
    file = _locked(path, refusal)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who has opened it meanwhile sees that it is another one
            if not found:
                folder.rmdir()
        file.close()


def _locked(path: Path, refusal: str) -> IO[str]:
    while True:
        file = lock_file(path)
        taken = try_lock(file)
        if taken is None or (taken and _is_at(file, path)):
            return file
        file.close()
        if not taken:
            raise OutputError(refusal)


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
