"""Writing files so that a reader never sees half of one, and nothing but the named file is replaced."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ead_core.common.locks import LOCK, try_lock
from ead_core.errors import OutputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PREFIX = ".writing-"  # of files that are being written: .writing-PROCESS-RANDOM.ending
OPEN_FILES = re.compile(r"/proc/(?P<process>\d+)(/task/\d+)?/fd|/dev/fd")  # where /dev/stdout leads to
MOST_LINKS = 40


@contextlib.contextmanager
def write_aside(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block succeeds.

    A symbolic link stays one, and the file that it leads to is written. What is no regular file (a pipe, a terminal, a
    device) is not replaced: what was written aside is poured into it. An existing file keeps its mode and owner.
    What interrupted writers have left in the folder is removed.

    The temporary name keeps the ending of `path`, because writers choose their format by it.

    Raises:
        OutputError: the place cannot be written, or there is no room; what was at `path` is still there.
    """
    path = Path(path)
    target = _writable_target(path)
    with _in_one_sentence(path):
        poured = _is_poured_into(target)
        folder = Path(tempfile.gettempdir()) if poured else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(folder)
        aside = folder / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}{''.join(target.suffixes[-2:])[-64:]}"
        file = os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), "wb")
    try:
        before = os.fstat(file.fileno()) if poured or not target.exists() else target.stat()
        if not try_lock(file):  # which shows that somebody is still writing
            file.close()
        yield aside
        with _in_one_sentence(path):
            if poured:
                _pour(aside, target)
            else:
                _take_over(before, aside)
                os.replace(aside, target)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _refusal(path, error) from error
        raise
    finally:
        aside.unlink(missing_ok=True)
        file.close()


def check_writable(path: Path | str) -> None:
    """Raise, before any long work, the OutputError that writing a file at `path` would end in."""
    _writable_target(Path(path))


def holds_files(folder: Path) -> bool:
    """Whether there is anything in a folder but what a run that was killed early leaves behind."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return any(name != LOCK and not name.startswith(PREFIX) for name in names)


def _writable_target(path: Path) -> Path:
    """What a path leads to, after making sure that it can be written (OutputError)."""
    with _in_one_sentence(path):
        target = _target(path)
        if target.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder.")
        if target.is_block_device():
            raise OutputError(f"cannot write {path}: it is a disk.")
        if path.is_symlink() and not target.parent.is_dir():
            raise OutputError(f"cannot write {path}: it is a link to {target}, and there is no such folder.")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputError(f"cannot write {path}: it is there already, and you may not write to it.")
        if not _is_poured_into(target):
            folder = next(parent for parent in target.parents if parent.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                raise OutputError(f"cannot write {path}: {folder} is not a folder that you may write to.")
    return target


def _target(path: Path) -> Path:
    """The end of a path's symbolic links; those of open files, such as /dev/stdout, are no names of files."""
    for _ in range(MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if _is_open_file(path) or not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _is_open_file(path: Path) -> bool:
    return bool(OPEN_FILES.fullmatch(str(path.parent)) and path.name.isdecimal())


def _is_poured_into(target: Path) -> bool:
    """Whether a target is written as it stands: it is open already, or no regular file."""
    return _is_open_file(target) or (target.exists() and not target.is_file())


def _pour(aside: Path, target: Path) -> None:
    with aside.open("rb") as source, _opened(target) as file:
        shutil.copyfileobj(source, file)


def _opened(target: Path) -> BinaryIO:
    """What is no regular file, open for writing; an open file of this process goes on where it is."""
    found = OPEN_FILES.fullmatch(str(target.parent))
    if found and found["process"] in (None, str(os.getpid())):
        sys.stdout.flush()
        return os.fdopen(os.dup(int(target.name)), "wb")
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_APPEND), "wb")


def _take_over(before: os.stat_result, aside: Path) -> None:
    """Give a file the owner and the mode of the one that it replaces, or that new files have here."""
    now = aside.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(OSError):
            os.chown(aside, before.st_uid, before.st_gid)
    aside.chmod(stat.S_IMODE(before.st_mode))


def _clear_leftovers(folder: Path) -> None:
    """Remove what writers have left behind that were killed; nothing of those that are at work."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_file(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(leftover: Path) -> None:
    with contextlib.suppress(OSError), leftover.open("r+b") as file:
        if try_lock(file) and not _is_at_work(leftover):
            leftover.unlink()


def _is_at_work(leftover: Path) -> bool:
    """Whether another living process has given a file its name; some libraries replace the file that is locked."""
    process = leftover.name.removeprefix(PREFIX).partition("-")[0]
    if not process.isdecimal() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it lives, and is another user's
    return True


@contextlib.contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}.")


def check_not_lost(path: Path | str, overwrite: bool = False) -> None:
    """Raise the OutputError of a program that would replace a file that it was not asked to replace."""
    if Path(path).is_file() and not overwrite:
        raise OutputError(f"{path} exists and is kept; --overwrite replaces it, or give another name.")


def check_beside(option: str, path: Path, out: Path, overwrite: bool = False) -> None:
    """Raise the OutputError of a program that would lose a file by writing what `option` names beside `out`."""
    if path.resolve() == out.resolve():
        raise OutputError(f"cannot write {path}: {option} and --out must name different files.")
    check_not_lost(path, overwrite)


def user_cache() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/ead, else ~/.cache/ead."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "ead"
