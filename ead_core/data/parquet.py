"""Parquet: one row per molecule with lists `elements` (atomic numbers) and `positions`, and properties."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ead_core.common.containers import check_growth
from ead_core.common.files import write_aside
from ead_core.common.limits import TEXTS
from ead_core.common.parquet_files import open_table, readable_parquet
from ead_core.data.misfits import NO_SCALAR, Misfit
from ead_core.data.records import Named, Skipped
from ead_core.data.seal import BLANK, KEY, check_seal, seal
from ead_core.data.store import MoleculeSet
from ead_core.data.tables import listed, table_properties, whole_or_zero
from ead_core.errors import DataError

_CORE = ("elements", "positions")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_ROW_LABELS = "left out: row labels of pandas"


class _Lists(NamedTuple):
    """A column of lists of numbers, or of lists of lists, in M rows.

    Attributes:
        values: all numbers.
        widths: [M] how many of them each row has.
        lists: lengths of the innermost lists.
        rows: which row each of these belongs to.
        nested: whether they lie in lists themselves.
    """

    values: NDArray[Any]
    widths: NDArray[np.int64]
    lists: NDArray[np.int64]
    rows: NDArray[np.int64]
    nested: bool


def load_parquet(path: Path) -> Named:
    """Read a table; `positions` may be flat [3N] or nested `[N][3]`. Columns that are no scalars are left out.

    Raises:
        DataError: not a parquet file, without the two columns, with two of one name, transposed, or beyond `limits`.
    """
    with open_table(path, columns := _wanted(path)) as file:
        table = file.read(columns)
    check_growth(path, sum(map(_room, table.columns)), TEXTS)
    return molecules_of(table, path)


def parquet_batches(path: Path, size: int) -> Iterator[pa.Table]:
    """The rows of a table, `size` at a time (errors as of `load_parquet`); see `molecules_of`."""
    with open_table(path, columns := _wanted(path)) as file:
        for batch in file.iter_batches(size, columns=columns):
            yield pa.Table.from_batches([batch])


def _wanted(path: Path) -> list[str]:
    """The columns of a table that are read, if its seal is whole."""
    with readable_parquet(path):
        check_seal(path)
    with open_table(path, ()) as file:
        names = file.schema_arrow.names
    missing = [name for name in _CORE if name not in names]
    if missing:
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}; it has {listed(names)}.")
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise DataError(f"{path} has two columns '{listed(twice[:1])}'; give each a name of its own.")
    return list(names)


def molecules_of(table: pa.Table, path: Path, first: int = 1) -> Named:
    """The molecules of rows.

    Args:
        table: rows with both columns.
        path: of their file.
        first: number of the first row in it.

    Raises:
        DataError: a column that holds something else.
    """
    elements, positions = (_lists(table, name, path) for name in _CORE)
    sizes, widths = elements.widths, positions.widths
    _check_not_transposed(positions, sizes, path)
    names = np.array([f"{path.name}, row {row}" for row in range(first, first + len(sizes))])
    uneven = positions.nested & (np.bincount(positions.rows[positions.lists != 3], minlength=len(sizes)) > 0)
    good = (sizes > 0) & (widths == 3 * sizes) & ~uneven
    skipped = [
        Skipped(
            str(names[row]),
            f"it has {sizes[row]} elements but {widths[row]} coordinates."
            if widths[row] != 3 * sizes[row] or not sizes[row]
            else "its positions are not lists of 3 coordinates.",
        )
        for row in np.flatnonzero(~good)
    ]
    properties, misfits = _properties(table)
    with np.errstate(over="ignore"):  # a coordinate beyond float32 becomes inf, which the reader reports
        coordinates = positions.values[np.repeat(good, widths)].astype(np.float32)
    molecules = MoleculeSet(
        sizes[good],
        whole_or_zero(elements.values[np.repeat(good, sizes)]),
        coordinates.reshape(-1, 3),
        {name: values[good] for name, values in properties.items()},
    )
    return Named(names[good].tolist(), molecules, skipped, misfits)


def _lists(table: pa.Table, name: str, path: Path) -> _Lists:
    column = _in_one_piece(table[name])
    rows, lists, depth = np.arange(len(column)), np.zeros(0, dtype=np.int64), 0
    owners = rows
    while pa.types.is_nested(column.type) and not pa.types.is_struct(column.type):
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        parents = column.value_parent_indices().to_numpy(zero_copy_only=False)
        owners, lists, depth = rows, np.bincount(parents, minlength=len(column)), depth + 1
        rows = rows[parents]
        column = column.flatten()
    if not _is_number(column.type):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else table[name].type
        raise DataError(f"column '{name}' of {path} must hold lists of numbers, not {kind}.")
    values = column.to_numpy(zero_copy_only=False)
    return _Lists(values, np.bincount(rows, minlength=table.num_rows), lists, owners, depth > 1)


def _check_not_transposed(positions: _Lists, sizes: NDArray[np.int64], path: Path) -> None:
    """Of 3 atoms nothing distinguishes 3 lists of N coordinates from N lists of 3; any other size in the rows does."""
    if not positions.nested:
        return
    lists = np.bincount(positions.rows, minlength=len(sizes))
    others = np.bincount(positions.rows[positions.lists != sizes[positions.rows]], minlength=len(sizes))
    transposed = (sizes != 3) & (sizes > 0) & (lists == 3) & (others == 0)
    if transposed.any():
        size = sizes[np.flatnonzero(transposed)[0]]
        shape = f"3 lists of {size} coordinates instead of {size} lists of 3"
        raise DataError(f"column 'positions' of {path} is transposed: it holds {shape}.")


def _properties(table: pa.Table) -> tuple[dict[str, NDArray[Any]], tuple[Misfit, ...]]:
    columns: dict[str, Any] = {}
    left: list[Misfit] = []
    for name in table.column_names:
        kind = table[name].type
        if name in _CORE:
            continue
        if is_row_label(name):
            left.append(Misfit(name, _ROW_LABELS, table.num_rows, str(kind)))
            continue
        values = values_of(table[name])
        if values is None:
            left.append(Misfit(listed([name]), NO_SCALAR, table.num_rows, str(kind)))
        else:
            columns[name] = values
    properties, misfits = table_properties(columns)
    return properties, (*left, *misfits)


def is_row_label(name: str) -> bool:
    """Whether a column of this name holds the labels of rows that pandas adds."""
    return _PANDAS_INDEX.fullmatch(name) is not None


def values_of(column: pa.ChunkedArray) -> Any:
    """A column as an array of int64 or floats, else as Python values; None if it is nested, or these cannot hold it."""
    column, kind = _in_one_piece(column), column.type
    if pa.types.is_nested(kind):
        return None
    if pa.types.is_floating(kind) or (pa.types.is_signed_integer(kind) and not column.null_count):
        values = column.to_numpy(zero_copy_only=False)
        return values if values.dtype.kind == "f" else values.astype(np.int64)
    try:
        if not pa.types.is_dictionary(kind):
            return column.to_pylist()
        distinct = column.dictionary.to_pylist()  # so that text that repeats is kept once
        return [None if place is None else distinct[place] for place in column.indices.to_pylist()]
    except (pa.ArrowException, ValueError, OverflowError):  # a date of the year 30,000
        return None


def _room(column: pa.ChunkedArray) -> int:
    """Bytes of a column of texts as NumPy holds it, 0 of other columns."""
    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = (pc.max(pc.binary_length(chunk.dictionary)).as_py() for chunk in column.chunks if len(chunk.dictionary))
    return 4 * len(column) * max((length or 0 for length in lengths), default=0)


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    # What is returned depends on the version of pyarrow and the number of chunks.
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def write_parquet(
    molecules: MoleculeSet,
    path: Path,
    entries: Mapping[str, str] | None = None,
    nulls: Collection[str] = (),
    compression: str = "snappy",
) -> None:
    """Write `elements`, flat `positions` and every property, as lists where it has several values, sealed (seal.py).

    Args:
        molecules: M molecules, a row each.
        path: of the file.
        entries: what else its footer shall hold (see `parquet_entries`).
        nulls: properties that are texts, of which '' is written as null.
        compression: of its columns.

    Raises:
        OutputError: the file cannot be written.
    """
    offsets = molecules.offsets
    columns = {
        "elements": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(molecules.charges, pa.int32())),
        "positions": pa.ListArray.from_arrays(pa.array(3 * offsets, pa.int32()), pa.array(molecules.positions.ravel())),
    }
    arrays = {name: np.asarray(values) for name, values in molecules.properties.items()}
    properties = {name: pa.array(v if v.ndim == 1 else v.tolist()) for name, v in arrays.items()}
    known = {name: pa.array([text or None for text in arrays[name].tolist()], pa.string()) for name in nulls}
    table = pa.table({**columns, **properties, **known})
    with write_aside(path) as aside:
        # A file of our own: Arrow opens none whose name is not UTF-8.
        options: dict[str, Any] = {"write_page_checksum": True, "compression": compression}
        with aside.open("wb") as file, pq.ParquetWriter(file, table.schema, **options) as writer:
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
