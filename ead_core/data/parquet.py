"""Parquet: one row per molecule with lists `elements` (atomic numbers) and `positions`, and properties."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ead_core.data.records import Named, Skipped, property_name
from ead_core.data.seal import BLANK, KEY, check_seal, seal
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.files import write_aside

_CORE = ("elements", "positions")


def load_parquet(path: Path) -> Named:
    """Read a table; `positions` may be flat [3N] or nested [N][3]. Columns that are no scalars are left out.

    Raises:
        DataError: not a parquet file, or without the two columns.
    """
    with readable_parquet(path):
        check_seal(path)
        table = pq.read_table(path, page_checksum_verification=True)
    _check_columns(table.column_names, path)
    return molecules_of(table, path)


def parquet_batches(path: Path, size: int) -> Iterator[pa.Table]:
    """The rows of a table, `size` at a time (errors as of `load_parquet`); see `molecules_of`."""
    with readable_parquet(path):
        check_seal(path)
    with readable_parquet(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        _check_columns(file.schema_arrow.names, path)
        for batch in file.iter_batches(size):
            yield pa.Table.from_batches([batch])


@contextlib.contextmanager
def readable_parquet(path: Path) -> Iterator[None]:
    """Raise the DataError of whatever makes reading a parquet file fail within the block."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]}).") from error


def _check_columns(names: Sequence[str], path: Path) -> None:
    missing = [name for name in _CORE if name not in names]
    if missing:
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(names)}.")


def molecules_of(table: pa.Table, path: Path, first: int = 1) -> Named:
    """The molecules of rows.

    Args:
        table: rows with both columns.
        path: of their file.
        first: number of the first row in it.

    Raises:
        DataError: a column that holds something else.
    """
    elements, sizes = _lists(table, "elements", path)
    elements = np.nan_to_num(elements, nan=0, posinf=0, neginf=0)  # no element
    positions, widths = _lists(table, "positions", path)
    good = (sizes > 0) & (widths == 3 * sizes)
    names = np.array([f"{path.name}, row {row}" for row in range(first, first + len(sizes))])
    skipped = [
        Skipped(str(names[row]), f"it has {sizes[row]} elements but {widths[row]} coordinates.")
        for row in np.flatnonzero(~good)
    ]
    with np.errstate(over="ignore"):  # a coordinate beyond float32 becomes inf, which the reader reports
        coordinates = positions[np.repeat(good, widths)].astype(np.float32)
    molecules = MoleculeSet(
        sizes[good],
        elements[np.repeat(good, sizes)],
        coordinates.reshape(-1, 3),
        {name: values[good] for name, values in _properties(table).items()},
    )
    return Named(names[good].tolist(), molecules, skipped)


def _lists(table: pa.Table, name: str, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """All numbers of a column of lists, or of lists of lists, and how many each row has."""
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # depends on the version of pyarrow and the number of chunks
        column = pa.concat_arrays(column.chunks)
    rows = np.arange(len(column))
    while pa.types.is_nested(column.type) and not pa.types.is_struct(column.type):
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        rows = rows[column.value_parent_indices().to_numpy(zero_copy_only=False)]
        column = column.flatten()
    if not _is_number(column.type):
        raise DataError(f"column '{name}' of {path} must hold lists of numbers, not {table[name].type}.")
    values = column.to_numpy(zero_copy_only=False)
    return values, np.bincount(rows, minlength=table.num_rows)


def _properties(table: pa.Table) -> dict[str, NDArray[Any]]:
    properties = {}
    for name in table.column_names:
        column = table[name]
        if name in _CORE:
            continue
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            properties[property_name(name)] = np.array(["" if v is None else v for v in column.to_pylist()])
        elif pa.types.is_boolean(column.type):
            properties[property_name(name)] = column.cast(pa.int8()).to_numpy()
        elif _is_number(column.type):
            properties[property_name(name)] = column.to_numpy()
    return properties


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def write_parquet(molecules: MoleculeSet, path: Path, entries: Mapping[str, str] | None = None) -> None:
    """Write `elements`, flat `positions` and every scalar property, sealed (seal.py).

    Args:
        molecules: M molecules, a row each.
        path: of the file.
        entries: what else its footer shall hold (see `parquet_entries`).

    Raises:
        OutputError: the file cannot be written.
    """
    offsets = molecules.offsets
    columns = {
        "elements": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(molecules.charges, pa.int32())),
        "positions": pa.ListArray.from_arrays(pa.array(3 * offsets, pa.int32()), pa.array(molecules.positions.ravel())),
    }
    scalars = {name: pa.array(v) for name, v in molecules.properties.items() if np.ndim(v) == 1}
    table = pa.table({**columns, **scalars})
    with write_aside(path) as aside:
        with pq.ParquetWriter(aside, table.schema, write_page_checksum=True) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({**(entries or {}), KEY: BLANK})
        seal(aside)


def parquet_entries(path: Path) -> dict[str, str]:
    """What the footer of a sealed file holds besides its columns; nothing if the file is not sealed.

    Raises:
        DataError: not a readable parquet file, or a damaged one.
    """
    with readable_parquet(path):
        found = pq.read_metadata(path).metadata if check_seal(path) else None
    return {key.decode(): value.decode() for key, value in (found or {}).items()}
