"""`.parquet` files opened within limits, their pages compared with their checksums."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ead_core.common.containers import check_growth
from ead_core.errors import DataError, one_line


@contextlib.contextmanager
def open_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[pq.ParquetFile]:
    """A `.parquet` file, to be read within the block; text that repeats is kept once.

    Args:
        path: of the file.
        columns: that will be read, with what is nested in them; None for all.

    Raises:
        DataError: it is no such file or damaged, or would be larger than `limits` allow.
    """
    with readable_parquet(path):
        metadata = pq.read_metadata(path)
        texts = [name for name, kind in _leaves(metadata).items() if kind == "BYTE_ARRAY"]
        with pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
            check_growth(path, _memory(metadata, columns))
            yield file


@contextlib.contextmanager
def readable_parquet(path: Path) -> Iterator[None]:
    """Raise the DataError of whatever makes reading a parquet file fail within the block."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable parquet file ({one_line(error)[:200]}).") from error


def _leaves(metadata: pq.FileMetaData) -> dict[str, str]:
    """Physical type of every column that is not nested."""
    columns = (metadata.schema.column(number) for number in range(metadata.num_columns))
    return {column.name: column.physical_type for column in columns if column.path == column.name}


def _memory(metadata: pq.FileMetaData, columns: Sequence[str] | None) -> int:
    """Bytes that columns need at least: values that are equal take hardly any room in the file."""
    total = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            path = chunk.path_in_schema
            if columns is None or any(path == name or path.startswith(f"{name}.") for name in columns):
                total += max(chunk.total_uncompressed_size, 8 * chunk.num_values)
    return total
