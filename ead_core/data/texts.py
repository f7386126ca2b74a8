"""Lines out of text files, packed or not: decoded, within limits, with every failure turned into one sentence."""

import bz2
import codecs
import contextlib
import functools
import gzip
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ead_core.common.limits import ALWAYS, DOCUMENT, GROWTH, LINE, RECORD, MiB
from ead_core.errors import DataError, one_line

UNREADABLE = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
PACKINGS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
}
_OTHER_UNICODE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32 begins with the same, or with zeros
_HEAD = 64  # bytes from which the encoding is recognised
_FALLBACK = "ead.windows-1252"


def natural_key(name: str) -> list[tuple[str, int]]:
    """Sort key under which `mol_2` comes before `mol_10`."""
    return [(text, int(digits[:18] or -1)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def packing_of(name: str) -> str:
    """`.gz` or `.bz2` if a name ends in it, else ''."""
    return next((ending for ending in PACKINGS if name.lower().endswith(ending)), "")


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[Iterator[str]]:
    r"""The lines of a text file, plain, `.gz` or `.bz2`; they end in "\n" and at nothing else (see `text_lines`).

    Raises:
        DataError: the file cannot be read to its end, or not within `limits`.
    """
    with open_unpacked(path, packing_of(path.name)) as file:
        yield text_lines(file, str(path))


def read_text(path: Path) -> str:
    """The whole of a text file that is a list or a table (DataError if it cannot be read, or is too large)."""
    with open_text(path) as lines:
        return "".join(at_most(DOCUMENT, lines, str(path)))


def at_most(characters: int, lines: Iterable[str], name: str) -> Iterator[str]:
    """The lines, until they are more than so many characters (DataError about what is called `name`)."""
    count = 0
    for line in lines:
        count += len(line)
        if count > characters:
            raise DataError(f"{name} has more than {characters // MiB} MiB of text, the most for what it should hold.")
        yield line


def too_long(name: str, line: int) -> str:
    """The sentence for a molecule that does not end, in a file of this name, from a line on."""
    return f"the molecule at line {line} of {name} has more than {RECORD // MiB} MiB of text, the most for a molecule."


def text_lines(file: IO[bytes], name: str) -> Iterator[str]:
    r"""The lines of a stream of bytes, each with "\n" at its end however lines end there.

    The text is UTF-8, with or without a byte order mark; bytes that are not UTF-8 are taken for Windows-1252, of which
    Latin-1 is a part.

    Args:
        file: a buffered stream.
        name: what it is called in errors.

    Raises:
        DataError: UTF-16 or UTF-32, or a line that is longer than `limits.LINE`.
    """
    head = file.peek(_HEAD)[:_HEAD]  # type: ignore[attr-defined]
    zeros = head.count(0)
    if head.startswith(_OTHER_UNICODE) or len(head) / 3 < zeros < len(head):
        raise DataError(f"{name} is UTF-16 or UTF-32 text; save it as UTF-8.")
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors=_FALLBACK)
    for number, line in enumerate(iter(functools.partial(text.readline, LINE + 1), ""), start=1):
        if len(line) > LINE:
            raise DataError(f"line {number} of {name} is longer than {LINE:,} characters, the most for a line.")
        yield line


@contextlib.contextmanager
def open_unpacked(path: Path, packing: str) -> Iterator[io.BufferedReader]:
    """The bytes of a file, unpacked (DataError if it cannot be opened; for what follows see `unpacked`)."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(unreadable(str(path), error)) from error
    with file, unpacked(file, packing, str(path)) as stream:
        yield stream


def unpacked(file: IO[bytes], packing: str, name: str) -> io.BufferedReader:
    """A stream of what is packed in another.

    Args:
        file: the packed bytes.
        packing: a key of `PACKINGS`, or '' for none.
        name: what it is called in errors.

    Returns:
        A stream that raises DataError if the bytes are damaged, or grow beyond `limits`.
    """
    return io.BufferedReader(_Unpacked(file, packing, name), buffer_size=2**16)


def unreadable(name: str, error: Exception) -> str:
    """The sentence for what cannot be read."""
    return f"{name} cannot be read ({getattr(error, 'strerror', None) or one_line(error)})."


class _Unpacked(io.RawIOBase):
    """Counts what it hands out against what it has read."""

    def __init__(self, file: IO[bytes], packing: str, name: str) -> None:
        super().__init__()
        self._packed, self._name, self._count = file, name, 0
        self._file = PACKINGS[packing](file) if packing else file

    def readable(self) -> bool:
        """True: text streams can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, as far as there is something."""
        try:
            content = self._file.read(len(buffer))
        except UNREADABLE as error:
            raise DataError(unreadable(self._name, error)) from error
        self._count += len(content)
        if self._file is not self._packed and self._count > max(ALWAYS, GROWTH * self._packed.tell()):
            raise DataError(f"{self._name} unpacks to more than {GROWTH} times its size, the most that is read.")
        buffer[: len(content)] = content
        return len(content)


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    return "".join(bytes([byte]).decode("cp1252", errors="replace") for byte in wrong), error.end


codecs.register_error(_FALLBACK, _as_windows_1252)
