"""Targets as a user writes them: on the command line, as a composition, and in a table with a row per molecule."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ead_core.data.properties import count_name, parse_formula
from ead_core.data.targets import OPEN, TargetError, Targets, parse_targets
from ead_core.errors import DataError

SIZE_COLUMN = "num_atoms"
EXTENSIONS = (".parquet", ".csv")


def gather_targets(
    items: Sequence[str], table: Path | None, composition: str | None, elements: Sequence[int]
) -> Targets | None:
    """All targets of a command; None if there are none.

    Args:
        items: `property=value` or `property=low:high`, for all molecules.
        table: see `read_targets`.
        composition: a formula, for all molecules; elements that it does not name are to be absent.
        elements: atomic numbers of the model.

    Raises:
        TargetError: anything malformed, or a property given in two ways.
        DataError: the table cannot be read.
    """
    parts = {"--target": parse_targets(items)}
    if composition is not None:
        parts["--composition"] = _composition(composition, elements)
    gathered = None if table is None else read_targets(table)
    given = dict.fromkeys(gathered.names, str(table)) if gathered else {}
    for source, part in parts.items():
        for name in part.names if part else ():
            if name in given:
                raise TargetError(f"target {name} is given by {source} and by {given[name]}; give it once.", name)
            given[name] = source
        if part:
            gathered = gathered.with_same(part) if gathered else part
    return gathered


def _composition(formula: str, elements: Sequence[int]) -> Targets:
    try:
        counts = parse_formula(formula)
    except DataError as error:
        raise TargetError(f"--composition: {error}") from error
    return Targets.of({count_name(number): counts.get(number, 0) for number in sorted({*elements, *counts})})


def read_targets(path: Path) -> Targets:
    """A table of targets: a row per molecule, a column per property, and perhaps `num_atoms`; empty or NaN is open.

    Args:
        path: `.parquet` or `.csv`.

    Raises:
        DataError: the file cannot be read, has no row, or a cell that is no number.
    """
    table = _read(path)
    table.columns = [str(name).strip() for name in table.columns]
    if not len(table):
        raise DataError(f"{path} has no rows; a table of targets has one per molecule.")
    if table.columns.duplicated().any():
        raise DataError(f"{path} has two columns '{table.columns[table.columns.duplicated()][0]}'.")
    numbers = {name: _numbers(table[name], path) for name in table.columns}
    sizes = numbers.pop(SIZE_COLUMN, None)
    columns = [[OPEN if np.isnan(value) else (value, value) for value in values] for values in numbers.values()]
    rows = tuple(zip(*columns, strict=True)) if columns else ((),) * len(table)
    return Targets(tuple(numbers), rows, () if sizes is None else _whole(sizes, path))


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path} is of an unknown kind; a table of targets must end in {' or '.join(EXTENSIONS)}.")
    try:
        if path.suffix.lower() == ".csv":
            with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
                return pd.read_csv(path, skipinitialspace=True, index_col=False)
        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
        return frame
    except OSError as error:
        raise DataError(f"table {path} cannot be read ({error.strerror or error}).") from error
    except pd.errors.ParserWarning as error:
        raise DataError(f"table {path} cannot be read (a row has more cells than the header).") from error
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"table {path} cannot be read ({str(error).splitlines()[0].rstrip('.')}).") from error


def _numbers(column: "pd.Series[float]", path: Path) -> list[float]:
    """The cells of a column, NaN where they are empty."""
    empty = column.isna() | (column.astype(str).str.strip() == "")
    values = pd.to_numeric(column, errors="coerce").astype(np.float64).to_numpy()
    wrong = np.flatnonzero(~np.isfinite(values) & ~empty.to_numpy())
    if column.dtype == bool or len(wrong):
        row = int(wrong[0]) if len(wrong) else 0
        cell = f"'{column.iloc[row]}' (row {row + 1})"
        raise DataError(f"column '{column.name}' of {path} must hold numbers, not {cell}.")
    return [float(value) for value in values]


def _whole(sizes: list[float], path: Path) -> tuple[int | None, ...]:
    for row, size in enumerate(sizes, start=1):
        if not np.isnan(size) and (size < 1 or size != int(size)):
            raise DataError(f"column '{SIZE_COLUMN}' of {path} must hold numbers of atoms, not {size:g} (row {row}).")
    return tuple(None if np.isnan(size) else int(size) for size in sizes)
