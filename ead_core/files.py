"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from ead_core.errors import OutputError, one_line

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def write_aside(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block succeeds.

    The temporary name keeps the suffix of `path`, because writers choose their format by it.

    Raises:
        OutputError: the folder cannot be created or written, or there is no room; what was at `path` is still there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix="".join(path.suffixes), dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o644)  # mkstemp and safetensors make private files; results are meant to be shared
        os.replace(aside, path)
    except IsADirectoryError as error:
        raise OutputError(f"cannot write {path}: it is a folder.") from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise OutputError(f"cannot write {path}: {error.strerror}.") from error
        raise
    except SafetensorError as error:  # it has no number
        raise OutputError(f"cannot write {path}: {one_line(error)}.") from error
    finally:
        aside.unlink(missing_ok=True)


def check_writable(path: Path | str) -> None:
    """Raise, before any long work, the OutputError that writing a file at `path` would end in."""
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write {path}: {folder} is not a folder that you may write to.")


def check_not_lost(path: Path | str, overwrite: bool = False) -> None:
    """Raise the OutputError of a program that would replace a file without being told to."""
    if Path(path).is_file() and not overwrite:
        raise OutputError(f"{path} exists and is kept; --overwrite replaces it, or give --out another name.")


def user_cache() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/ead, else ~/.cache/ead."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "ead"
