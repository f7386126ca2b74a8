"""Targets as a user writes them: on the command line, as a composition, and in a table with a row per molecule."""

import csv
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from ead_core.common.limits import DOCUMENT
from ead_core.common.parquet_files import open_table
from ead_core.data.numerals import parse_number
from ead_core.data.parquet import is_row_label, values_of
from ead_core.data.properties import count_name, parse_formula
from ead_core.data.tables import listed
from ead_core.data.targets import LARGEST, OPEN, Bounds, TargetError, Targets, parse_targets
from ead_core.data.texts import at_most, open_text
from ead_core.errors import DataError, one_line

SIZE_COLUMN = "num_atoms"
EXTENSIONS = (".parquet", ".csv")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_EMPTY = ("", "nan", "na", "n/a", "#n/a", "null", "none")  # as pandas reads them


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

    A cell is a number, or a range as text: `6000:7000`.

    Args:
        path: `.parquet`, or `.csv` with a header, commas between cells and decimal points.

    Raises:
        DataError: the file cannot be read, has no row, a column without a name or twice, or a cell that is neither.
    """
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path} is of an unknown kind; a table of targets must end in {' or '.join(EXTENSIONS)}.")
    if not path.exists():
        raise DataError(f"table {path} cannot be read (No such file or directory).")
    names, rows = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    if not rows:
        raise DataError(f"{path} has no rows; a table of targets has one per molecule.")
    _check_names(names, path)
    columns = {
        name: [_ends(cell, name, number, path) for number, cell in enumerate(cells, start=1)]
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    }
    sizes = columns.pop(SIZE_COLUMN, None)
    targets = tuple(zip(*columns.values(), strict=True)) if columns else ((),) * len(rows)
    return Targets(tuple(columns), targets, () if sizes is None else _whole(sizes, path))


def _read_csv(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Header and rows, each as wide as the header; a line of commas alone is an open row, unless none follows it."""
    try:
        with open_text(path) as lines:
            cells = csv.reader(at_most(DOCUMENT, lines, str(path)), skipinitialspace=True, strict=True)
            header, *rows = _trimmed([row for row in cells if len(row) > 1 or any(map(str.strip, row))]) or [[]]
    except csv.Error as error:
        raise DataError(f"table {path} cannot be read ({one_line(error)}).") from error
    if not header:
        raise DataError(f"table {path} cannot be read (No columns to parse from file).")
    names = [name.strip() for name in header]
    separator = next((word for mark, word in _SEPARATORS.items() if any(mark in name for name in header)), None)
    if separator:
        raise DataError(f"table {path} is separated by {separator}; write commas between cells and decimal points.")
    if any(len(row) > len(names) for row in rows):
        raise DataError(f"table {path} cannot be read (a row has more cells than the header).")
    return names, [row + [""] * (len(names) - len(row)) for row in rows]


def _trimmed(rows: list[list[str]]) -> list[list[str]]:
    """Rows without the empty ones at both ends, as spreadsheets write them."""
    filled = [number for number, row in enumerate(rows) if any(map(str.strip, row))]
    return rows[filled[0] : filled[-1] + 1] if filled else []


def _read_parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    with open_table(path) as file:
        names = [name for name in file.schema_arrow.names if not is_row_label(name)]
        _check_names(names, path)
        table = file.read(names)
    columns = [values_of(table[name]) for name in names]
    nested = [name for name, values in zip(names, columns, strict=True) if values is None]
    if nested:
        raise DataError(f"column '{listed(nested[:1])}' of {path} must hold numbers, not {table[nested[0]].type}.")
    return [name.strip() for name in names], [list(row) for row in zip(*columns, strict=True)]


def _check_names(names: Sequence[str], path: Path) -> None:
    for number, name in enumerate(names):
        if not name:
            raise DataError(
                f"column {number + 1} of {path} has no name; every column must be a property (pandas: index=False)."
            )
        if name in names[:number]:
            raise DataError(f"{path} has two columns '{listed([name])}'.")


def _ends(cell: object, name: str, row: int, path: Path) -> Bounds:
    """A cell as a value or a range, open if it is empty."""
    parts = cell.split(":") if isinstance(cell, str) else [cell]
    ends = [_number(part, name, row, path) for part in parts]
    if len(ends) > 2 or (len(ends) == 2 and not ends[0] <= ends[1]):
        raise DataError(f"a range in column '{listed([name])}' of {path} must be low:high, not '{cell}' (row {row}).")
    return OPEN if math.isnan(ends[0]) else (ends[0], ends[-1])


def _number(cell: object, name: str, row: int, path: Path) -> float:
    """A cell as a number, NaN if it is empty."""
    value: object = cell
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _EMPTY):
        return math.nan
    if isinstance(cell, str):
        value = parse_number(cell.strip())
    if isinstance(value, Decimal | np.generic):
        value = float(value)
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.inf
    if abs(number) >= LARGEST:
        numbers = "numbers" if abs(number) == math.inf else f"numbers below {LARGEST:g}"
        shown = f"'{listed([str(cell)])}' (row {row})"
        raise DataError(f"column '{listed([name])}' of {path} must hold {numbers}, not {shown}.")
    return float(number)


def _whole(sizes: list[Bounds], path: Path) -> tuple[int | None, ...]:
    for row, (size, end) in enumerate(sizes, start=1):
        if not np.isnan(size) and (size < 1 or size != int(size) or size != end):
            shown = f"{size:g}" if size == end else f"{size:g}:{end:g}"
            raise DataError(f"column '{SIZE_COLUMN}' of {path} must hold numbers of atoms, not {shown} (row {row}).")
    return tuple(None if np.isnan(size) else int(size) for size, _ in sizes)
