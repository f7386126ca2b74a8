"""A prefix of an object store such as `s3://bucket/molecules` as the place of a generation.

Stores have no locks. A run holds a lease instead: a file that it writes again and again while it is at work.
"""

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from ead_core.errors import OutputError, one_line
from ead_platform.cluster.credentials import hide_credentials
from ead_platform.generation.places import Place

LEASE = ".lease-"  # how the names of leases begin
RENEWAL, EXPIRY = 30, 120  # seconds


def store_of(address: str) -> Place:
    """The prefix of an object store that pyarrow knows, such as S3 and what speaks its protocol.

    Credentials, region and endpoint are those of the environment, or of the address: `s3://bucket/molecules?region=…`.

    Raises:
        OutputError: an unknown scheme, or a store that does not answer.
    """
    return _Store(address)


class _Store(Place):
    def __init__(self, address: str) -> None:
        self._address = address
        self._lease: _Lease | None = None  # while this run is at work
        self._silence = ""  # why the store did not answer when it was asked last, which may take a minute or two
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

    def names(self) -> list[str]:
        return [info.base_name for info in self._files() if not info.base_name.startswith(LEASE)]

    def read(self, name: str) -> bytes:
        with self._answering(f"read {name} in"), self._store.open_input_stream(self._at(name)) as stream:
            content: bytes = stream.read()
        return content

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.read(name)).hexdigest()

    def write(self, name: str, content: bytes) -> None:
        if self._lease:
            self._lease.hold()
        self.put(name, content)

    def remove(self, name: str) -> None:
        if self._silence:  # a run that ends for that need not wait again to clear away
            raise OutputError(self._silence)
        with contextlib.suppress(FileNotFoundError), self._answering(f"remove {name} from"):
            self._store.delete_file(self._at(name))

    def written(self, name: str) -> float | None:
        with self._answering(f"look for {name} in"):
            info = self._store.get_file_info(self._at(name))
        return info.mtime.timestamp() if info.type == FileType.File else None

    def refuse_links(self, names: Iterable[str]) -> None:
        """There are none."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold a lease.

        A run that could not renew it for too long, since its machine slept or the store did not answer, takes it anew
        before it writes again, as if it began.
        """
        lease = _Lease(self)
        lease.take()
        ended = threading.Event()
        renewal = threading.Thread(target=lease.renew, args=(ended,), daemon=True)
        renewal.start()
        self._lease = lease
        try:
            yield
        finally:
            self._lease = None
            ended.set()
            renewal.join()
            with contextlib.suppress(OutputError):  # why the block ended matters more, and leases expire
                self.remove(lease.name)

    def at_work(self) -> bool | None:
        return bool(self.leases(time.time()))

    def _at(self, name: str) -> str:
        return f"{self._base}/{name}"

    @contextlib.contextmanager
    def _answering(self, doing: str) -> Iterator[None]:
        """Tell what a store fails to do in a sentence, but for files that are not there."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            self._silence = f"cannot {doing} {self}: {one_line(error)[:300]}."
            raise OutputError(self._silence) from error
        self._silence = ""

    def _files(self) -> list[FileInfo]:
        with self._answering("list what is in"):
            found = self._store.get_file_info(FileSelector(self._base, allow_not_found=True))
        return [info for info in found if info.type == FileType.File]

    def put(self, name: str, content: bytes) -> None:
        """As `write`, with or without a lease."""
        with self._answering(f"write {name} to"), self._store.open_output_stream(self._at(name)) as stream:
            stream.write(content)

    def leases(self, now: float, own: str = "") -> list[str]:
        """Those of other runs that are alive; what dead ones left is removed."""
        leases = [info for info in self._files() if info.base_name.startswith(LEASE) and info.base_name != own]
        dead = [info.base_name for info in leases if now - info.mtime.timestamp() > EXPIRY]
        for name in dead:
            self.remove(name)
        return [info.base_name for info in leases if info.base_name not in dead]


class _Lease:
    """A file in a store that says that a run is at work."""

    def __init__(self, store: _Store) -> None:
        self._store, self.name = store, f"{LEASE}{uuid.uuid4()}"
        self._renewed = 0.0  # on the clock that goes on while a machine sleeps

    def take(self) -> None:
        """Write it and look for others that live (OutputError if there are any); times are those of the store.

        Who finds another after writing its own steps back, so that of two that begin at once at most one goes on.
        """
        self._write()
        if others := self._store.leases(self._store.written(self.name) or time.time(), self.name):
            self._renewed = 0.0
            self._store.remove(self.name)
            raise OutputError(
                f"another run is writing to {self._store} ({others[0]}); wait for it, or choose another --out. "
                f"One that was killed is forgotten after {EXPIRY} seconds."
            )

    def hold(self) -> None:
        """Take it anew if it has lapsed."""
        if self._lapsed:
            self.take()

    def renew(self, ended: threading.Event) -> None:
        """Write it again and again until something has ended."""
        while not ended.wait(RENEWAL):
            with contextlib.suppress(OutputError):  # a later one may succeed
                if self._lapsed:
                    self.take()
                else:
                    self._write()

    def _write(self) -> None:
        began = time.time()
        self._store.put(self.name, b"")
        self._renewed = began

    @property
    def _lapsed(self) -> bool:
        """Whether other runs take this one for dead."""
        return time.time() - self._renewed > EXPIRY
