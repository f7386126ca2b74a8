"""Where the files of a generation lie: a folder, or a prefix of an object store such as `s3://bucket/molecules`.

Files are written whole or not at all, and only one run writes at a time.
"""

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from ead_core.common.files import write_aside
from ead_core.common.locks import lock_file, try_lock
from ead_core.data.formats import check_output
from ead_core.errors import OutputError, one_line
from ead_platform.cluster.credentials import hide_credentials

LOCK = ".lock"
LEASE = ".lease-"  # names of a store without locks by which a run says that it is at work
RENEWAL, EXPIRY = 30, 120  # seconds
_UNFINISHED = ".writing-"  # what `write_aside` leaves behind when a process is killed


class Place(Protocol):
    """A folder of files without subfolders; its text is its address."""

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
    return _Store(str(address)) if "://" in str(address) else _Local(Path(address))


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
        (self.folder / name).unlink(missing_ok=True)

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


class _Store(Place):
    """A prefix of an object store that pyarrow knows, such as S3 and what speaks its protocol.

    Credentials, region and endpoint are those of the environment, or of the address: `s3://bucket/molecules?region=…`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            self._store, base = FileSystem.from_uri(address)
            if not base.strip("/"):
                raise ValueError("it names no folder")
            self._store.get_file_info(base)
        except (OSError, ValueError, ArrowException) as error:
            raise OutputError(f"{self} cannot be used as a place for molecules: {one_line(error)[:300]}.") from error
        self._base = base.rstrip("/")

    def __str__(self) -> str:
        return hide_credentials(self._address.partition("?")[0])

    def check_writable(self) -> None:
        """Only writing shows it."""

    def _at(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _files(self) -> list[FileInfo]:
        found = self._store.get_file_info(FileSelector(self._base, allow_not_found=True))
        return [info for info in found if info.type == FileType.File]

    def names(self) -> list[str]:
        return [info.base_name for info in self._files() if not info.base_name.startswith(LEASE)]

    def read(self, name: str) -> bytes:
        with self._store.open_input_stream(self._at(name)) as stream:
            content: bytes = stream.read()
        return content

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.read(name)).hexdigest()

    def write(self, name: str, content: bytes) -> None:
        try:
            with self._store.open_output_stream(self._at(name)) as stream:
                stream.write(content)
        except OSError as error:
            raise OutputError(f"cannot write {name} to {self}: {one_line(error)[:300]}.") from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._store.delete_file(self._at(name))

    def written(self, name: str) -> float | None:
        info = self._store.get_file_info(self._at(name))
        return info.mtime.timestamp() if info.type == FileType.File else None

    def refuse_links(self, names: Iterable[str]) -> None:
        """There are none."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold a lease: a file that is written again and again while the run is at work.

        Who finds another living lease after writing its own steps back, so that of two that begin at once at most one
        goes on. Times are those of the store.
        """
        own = f"{LEASE}{uuid.uuid4()}"
        self.write(own, b"")
        if others := self._leases(self.written(own) or time.time(), own):
            self.remove(own)
            raise OutputError(
                f"another run is writing to {self} ({others[0]}); wait for it, or choose another --out. "
                f"One that was killed is forgotten after {EXPIRY} seconds."
            )
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(own, ended), daemon=True)
        renewal.start()
        try:
            yield
        finally:
            ended.set()
            renewal.join()
            self.remove(own)

    def _renew(self, own: str, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL):
            with contextlib.suppress(OutputError):  # a later one may succeed
                self.write(own, b"")

    def _leases(self, now: float, own: str = "") -> list[str]:
        """Those of other runs that are alive; what dead ones left is removed."""
        leases = [info for info in self._files() if info.base_name.startswith(LEASE) and info.base_name != own]
        dead = [info.base_name for info in leases if now - info.mtime.timestamp() > EXPIRY]
        for name in dead:
            self.remove(name)
        return [info.base_name for info in leases if info.base_name not in dead]

    def at_work(self) -> bool | None:
        return bool(self._leases(time.time()))
