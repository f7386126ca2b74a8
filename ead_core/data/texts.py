"""Text out of files, folders and archives, with every failure turned into one sentence."""

import contextlib
import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ead_core.errors import DataError

_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


def split_lines(text: str) -> list[str]:
    """Cut where lines end in files, and not at form feeds and the like."""
    return re.split(r"\r\n?|\n", text)


def natural_key(name: str) -> list[tuple[str, int]]:
    """Sort key under which `mol_2` comes before `mol_10`."""
    return [(text, int(digits[:18] or -1)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file, plain or `.gz`; what is not UTF-8 becomes a replacement character.

    Raises:
        DataError: the file cannot be read to its end.
    """
    with _readable(path):
        opener = gzip.open if path.name.lower().endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            yield file


def read_text(path: Path) -> str:
    """The whole of a text file, plain or `.gz`; DataError if it cannot be read."""
    with open_text(path) as file:
        return file.read()


def folder_texts(folder: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """(name, text) of every file of a folder that ends in `suffix`, in natural order."""
    with _readable(folder):
        paths = [path for path in folder.iterdir() if path.is_file() and _wanted(path.name, suffix)]
    for path in sorted(paths, key=lambda path: natural_key(path.name)):
        yield path.name, read_text(path)


def archive_texts(archive: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """(name, text) of every member of a tar archive that ends in `suffix`, in the order of the archive.

    The archive is read as a stream, because going back in a compressed one means starting again.
    """
    with _readable(archive), tarfile.open(archive, mode="r|*") as tar:
        for member in tar:
            name = Path(member.name).name
            content = tar.extractfile(member) if member.isfile() and _wanted(name, suffix) else None
            if content is not None:
                yield name, content.read().decode("utf-8", errors="replace")


def _wanted(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix) and not name.startswith(".")  # macOS leaves `._` files behind


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        detail = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({detail}).") from error
