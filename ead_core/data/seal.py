"""Parquet files that carry the checksum of their own bytes, so that no flipped bit is read as data.

Parquet's own checksums cover the pages with the values, not the footer that says what the values mean. The seal is an
entry of the footer: the size of the file, and the SHA-256 of all its bytes with the entry itself left blank. Other
programs need not know it; a table that they have changed and written anew has another size, and its seal means nothing.
"""

import hashlib
import re
from pathlib import Path
from typing import IO, NamedTuple

from ead_core.errors import DataError

KEY = "ead.seal"
BLANK = f"{0:016d}-{0:064d}"
_SEAL = re.compile(rb"ead\.seal..(\d{16}-[0-9a-f]{64})", re.DOTALL)
_TAIL = 2**16  # bytes that are searched at least; the footer may be longer, and what gives its length may be damaged
_CHUNK = 2**20


class _Seal(NamedTuple):
    offset: int
    text: bytes


def seal(path: Path) -> None:
    """Fill in the seal of a file whose entry `KEY` is `BLANK`."""
    with path.open("r+b") as file:
        found = _find(file)
        if found is None:
            raise ValueError(f"{path} has no place for a seal.")
        text = _text(file, found)
        file.seek(found.offset)
        file.write(text)


def check_seal(path: Path) -> bool:
    """Whether the file is sealed; without a seal, nothing is known of its bytes.

    Raises:
        DataError: the bytes are not those that were sealed.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        found = _find(file)
        if found is None or int(found.text[:16]) != _size(file):
            return False
        if _text(file, found) != found.text:
            raise DataError(f"{path} is damaged: its bytes do not have the checksum that it carries.")
    return True


def _find(file: IO[bytes]) -> _Seal | None:
    size = _size(file)
    file.seek(max(size - 8, 0))
    tail = min(size, max(int.from_bytes(file.read(4), "little") + 8, _TAIL))
    file.seek(size - tail)
    seals = list(_SEAL.finditer(file.read(tail)))
    return _Seal(size - tail + seals[-1].start(1), seals[-1][1]) if seals else None


def _size(file: IO[bytes]) -> int:
    return file.seek(0, 2)


def _text(file: IO[bytes], found: _Seal) -> bytes:
    """What the seal should be."""
    digest = hashlib.sha256()
    file.seek(0)
    left = found.offset
    while left:
        chunk = file.read(min(left, _CHUNK))
        digest.update(chunk)
        left -= len(chunk)
    digest.update(BLANK.encode())
    file.seek(len(found.text), 1)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return f"{_size(file):016d}-{digest.hexdigest()}".encode()
