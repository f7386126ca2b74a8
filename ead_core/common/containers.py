"""`.npz` files opened within limits: what their headers claim is compared with what they hold first."""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.common.limits import ALWAYS, GROWTH
from ead_core.errors import DataError, one_line

_ENDING = ".npy"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes
_BROKEN = (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)


class StoredArray:
    """An array of an `.npz` file, read from its first row on.

    Attributes:
        shape: of the whole array.
        dtype: of its values.
    """

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._file = archive.open(info)
        self.shape, by_columns, self.dtype = _HEADERS[np.lib.format.read_magic(self._file)](self._file)
        name = info.filename.removesuffix(_ENDING)
        if self.dtype.hasobject:
            raise ValueError(f"its array '{name}' holds Python objects")
        count: int = math.prod(map(int, self.shape))
        claimed, there = count * self.dtype.itemsize, info.file_size - self._file.tell()
        if claimed != there or (not claimed and count):
            raise ValueError(f"its array '{name}' claims to be {self.dtype} {self.shape} but has {there:,} bytes")
        self._in_rows = not (by_columns and len(self.shape) > 1)
        self._rest: NDArray[Any] | None = None  # of an array that does not lie there row by row

    def rows(self, count: int) -> NDArray[Any]:
        """The next rows (ValueError if the file ends before)."""
        shape = (count, *self.shape[1:])
        if self._in_rows:
            content = self._file.read(math.prod(shape) * self.dtype.itemsize)
            return np.frombuffer(content, self.dtype).reshape(shape).copy() if content else np.zeros(shape, self.dtype)
        if self._rest is None:
            self._rest = np.frombuffer(self._file.read(), self.dtype).reshape(self.shape, order="F")
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def whole(self) -> NDArray[Any]:
        """The whole array, if no row has been read yet."""
        return self.rows(self.shape[0]) if self.shape else np.frombuffer(self._file.read(), self.dtype).reshape(())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextlib.contextmanager
def open_arrays(path: Path, kind: str = ".npz file") -> Iterator[dict[str, StoredArray]]:
    """The arrays of an `.npz` file by name, to be read within the block.

    Args:
        path: of the file.
        kind: what it should be, for errors.

    Raises:
        DataError: it does not exist, is no such file or damaged, or would be larger than `limits` allow.
    """
    if not path.is_file():
        raise DataError(f"data file {path} does not exist.")
    try:
        with zipfile.ZipFile(path) as archive, contextlib.ExitStack() as stack:
            infos = {info.filename: info for info in archive.infolist() if info.filename.endswith(_ENDING)}
            check_growth(path, sum(info.file_size for info in infos.values()))
            arrays = {}
            for name, info in infos.items():
                if info.compress_type not in _METHODS:
                    raise ValueError("it is packed in another way than numpy does")
                arrays[name.removesuffix(_ENDING)] = array = StoredArray(archive, info)
                stack.callback(array.close)
            yield arrays
    except _BROKEN as error:
        raise DataError(f"{path} is not a readable {kind} ({one_line(error)}).") from error


def load_arrays(path: Path, kind: str = ".npz file") -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file in memory; errors as of `open_arrays`."""
    with open_arrays(path, kind) as arrays:
        return {name: array.whole() for name, array in arrays.items()}


def check_growth(path: Path, unpacked: int, always: int = ALWAYS) -> None:
    """Raise DataError if a file needs too many bytes in memory, more than `always` and many times its size."""
    if unpacked > max(always, GROWTH * path.stat().st_size):
        raise DataError(f"{path} unpacks to more than {GROWTH} times its size, the most that is read.")
