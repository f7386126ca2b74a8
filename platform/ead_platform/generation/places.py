"""Where the files of a generation lie: a folder, or a prefix of an object store such as `s3://bucket/molecules`.

Files are written whole or not at all, and only one run writes at a time.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ead_core.common.files import write_aside
from ead_core.common.locks import lock_file, try_lock
from ead_core.data.formats import check_output
from ead_core.errors import OutputError

LOCK = ".lock"
_UNFINISHED = ".writing-"  # what `write_aside` leaves behind when a process is killed


class Place(Protocol):
    """A folder of files without subfolders; its text is its address.

    Any call raises OutputError where a store does not answer.
    """

    def check_writable(self) -> None:
        """Raise, before any long work, the OutputError that writing would end in, as far as it can be known."""

    def names(self) -> list[str]:
        """Of the files, but for those that keep other runs out."""

    def read(self, name: str) -> bytes:
        """The content of a file (OSError if it cannot be read)."""

    def sha256(self, name: str) -> str:
        """The checksum of a file's content (OSError if it cannot be read)."""

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file, whole or not at all (OutputError if that fails)."""

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""

    def written(self, name: str) -> float | None:
        """When a file was written, in seconds since 1970; None if it is not there."""

    def refuse_links(self, names: Iterable[str]) -> None:
        """Raise the OutputError of a file that is a link to another place."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other runs out for the length of a block (OutputError if one is at work, or nothing can be written)."""

    def at_work(self) -> bool | None:
        """Whether a run is at work; None if that cannot be known."""


def place_of(address: Path | str) -> Place:
    """The place at a path, or at an address with a scheme such as `s3://bucket/molecules`.

    Raises:
        OutputError: an unknown scheme, or a store that does not answer.
    """
    from ead_platform.generation.object_store import store_of  # which needs to know what a place is

    return store_of(str(address)) if "://" in str(address) else _Local(Path(address))


class _Local(Place):
    """A folder of this machine's file system, or of one that several machines share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def check_writable(self) -> None:
        check_output(self.folder / "shard.parquet")

    def names(self) -> list[str]:
        found = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return [name for name in found if name != LOCK and not name.startswith(_UNFINISHED)]

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def sha256(self, name: str) -> str:
        with (self.folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, name: str, content: bytes) -> None:
        try:
            with write_aside(self.folder / name) as aside:
                aside.write_bytes(content)
        except OSError as error:
            raise OutputError(f"cannot write {self.folder / name}: {error.strerror or error}.") from error

    def remove(self, name: str) -> None:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {self.folder / name}: {error.strerror or error}.") from error

    def written(self, name: str) -> float | None:
        try:
            return (self.folder / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def refuse_links(self, names: Iterable[str]) -> None:
        for name in (LOCK, *names):
            if (self.folder / name).is_symlink():
                raise OutputError(f"{self.folder / name} is a link; the files of a generation must lie in its folder.")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold a lock on a file, and clear away what a killed run left half-written.

        On a file system without locks two runs could work side by side: they would do the work twice, but write equal
        files, and the one that ends last leaves a complete index.
        """
        with lock_file(self.folder / LOCK) as file:
            taken = try_lock(file)
            if taken is False:
                raise OutputError(f"another run is writing to {self.folder}; wait for it, or choose another --out.")
            for path in self.folder.glob(f"{_UNFINISHED}*") if taken else ():
                path.unlink(missing_ok=True)
            yield

    def at_work(self) -> bool | None:
        with lock_file(self.folder / LOCK) as file:
            taken = try_lock(file)
        return None if taken is None else not taken
