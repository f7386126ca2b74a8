"""Files in tar and zip archives, read as streams and never unpacked onto the disk; links in them are not followed."""

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from ead_core.common.limits import ALWAYS, GROWTH, HEADER
from ead_core.data.texts import UNREADABLE, open_unpacked, packing_of, unpacked, unreadable
from ead_core.errors import DataError

ARCHIVES = {".tar": "", ".tar.gz": ".gz", ".tgz": ".gz", ".tar.bz2": ".bz2", ".tbz2": ".bz2", ".zip": ""}  # packings
_EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # others could ask for gigabytes


class Member(NamedTuple):
    """A file of an archive.

    Attributes:
        path: its name with folders.
        content: its bytes, unpacked if it is packed once more; to be read before the next member is asked for. None
            for a link or another special file.
    """

    path: str
    content: IO[bytes] | None

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        return PurePosixPath(self.path).name


def archive_of(name: str) -> str:
    """The ending of an archive that a name has, or ''."""
    return next((ending for ending in ARCHIVES if name.lower().endswith(ending)), "")


def members(archive: Path) -> Iterator[Member]:
    """Files and links of an archive in its order; hidden files are left out.

    Raises:
        DataError: it cannot be read, or not within `limits`.
    """
    found = _zip_members(archive) if archive_of(archive.name) == ".zip" else _tar_members(archive)
    try:
        for path, file in found:
            content = file and unpacked(file, packing_of(path), f"{archive}: {path}")
            member = Member(path, content)
            if not member.name.startswith("."):  # macOS leaves `._` files behind
                yield member
    except (*UNREADABLE, NotImplementedError, RuntimeError) as error:
        raise DataError(unreadable(str(archive), error)) from error


class _Header(tarfile.TarInfo):
    """What precedes a member, or describes the next one: the latter is read whole, so it is bounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse a header, refusing what `tarfile` accepts: a damaged one in the middle, a description of any length."""
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):
                raise tarfile.ReadError(str(error)) from error
            raise
        if header.type in _EXTENDED and header.size > HEADER:
            raise tarfile.ReadError(f"it describes a member in more than {HEADER:,} bytes, the most allowed")
        return header


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """As a stream, because going back in a packed archive means starting again."""
    with (
        open_unpacked(archive, ARCHIVES[archive_of(archive.name)]) as file,
        tarfile.open(fileobj=file, mode="r|", tarinfo=_Header) as tar,
    ):
        while header := tar.next():
            tar.members = []  # type: ignore[attr-defined]  # of a million members it would keep them all
            if header.isfile() and not header.issparse():
                yield header.name, tar.extractfile(header)
            elif not header.isdir():
                yield header.name, None


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as packed:
        infos = [info for info in packed.infolist() if not info.is_dir()]
        if sum(info.file_size for info in infos) > max(ALWAYS, GROWTH * archive.stat().st_size):
            raise DataError(f"{archive} unpacks to more than {GROWTH} times its size, the most that is read.")
        for info in infos:
            if info.compress_type not in _METHODS:
                raise DataError(f"{archive} is packed in another way than deflate or bzip2, which alone are read.")
            if stat.S_ISLNK(info.external_attr >> 16):
                yield info.filename, None
                continue
            with packed.open(info) as content:
                yield info.filename, content
