"""Targets as a user writes them: on the command line, as a composition, and in a table of wishes."""

import csv
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from ead_core.common.limits import DOCUMENT, NAME
from ead_core.common.parquet_files import open_table
from ead_core.data.columns import fit_cell
from ead_core.data.numerals import parse_number
from ead_core.data.parquet import is_row_label, values_of
from ead_core.data.properties import count_name, parse_formula
from ead_core.data.tables import listed
from ead_core.data.targets import LARGEST, OPEN, Bounds, TargetError, Targets, parse_targets
from ead_core.data.texts import at_most, open_text
from ead_core.data.wish_tables import KEY, WishTable
from ead_core.errors import DataError, one_line

SIZE_COLUMN, COUNT_COLUMN, FORMULA_COLUMN = "num_atoms", "count", "composition"
MOST_WISHES = 10**9  # molecules of a row
EXTENSIONS = (".parquet", ".csv")
_COUNTS = f"numbers of molecules up to {MOST_WISHES:,}"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_EMPTY = ("", "nan", "na", "n/a", "#n/a", "null", "none")  # as pandas reads them


def gather_wishes(
    items: Sequence[str], table: Path | None, composition: str | None, elements: Sequence[int]
) -> WishTable | None:
    """All targets of a command; None if there are none.

    Args:
        items: `property=value` or `property=low:high`, for all molecules.
        table: see `read_wishes`.
        composition: a formula, for all molecules; elements that it does not name are to be absent.
        elements: atomic numbers of the model.

    Raises:
        TargetError: anything malformed, or a property given in two ways.
        DataError: the table cannot be read.
    """
    parts = {"--target": parse_targets(items)}
    if composition is not None:
        parts["--composition"] = _composition(composition, elements)
    gathered = None if table is None else read_wishes(table, elements)
    given = dict.fromkeys(gathered.targets.names, str(table)) if gathered else {}
    for source, part in parts.items():
        for name in part.names if part else ():
            if name in given:
                raise TargetError(f"target {name} is given by {source} and by {given[name]}; give it once.", name)
            given[name] = source
        if part:
            gathered = replace(gathered, targets=gathered.targets.with_same(part)) if gathered else WishTable(part)
    return gathered


def _composition(formula: str, elements: Sequence[int]) -> Targets:
    try:
        counts = parse_formula(formula)
    except DataError as error:
        raise TargetError(f"--composition: {error}") from error
    return Targets.of({count_name(number): counts.get(number, 0) for number in sorted({*elements, *counts})})


def read_wishes(path: Path, elements: Sequence[int] = ()) -> WishTable:
    """A table of wishes: a row per molecule or per group of molecules, a column per property; empty or NaN is open.

    A cell is a number, or a range as text: `6000:7000`. Four columns are no properties: `num_atoms`; `composition`, a
    formula such as C7H10O2; `count`, how many molecules the row asks for, one if it is empty; and `key`, what the row
    is called, different for each.

    Args:
        path: `.parquet`, or `.csv` with a header, commas between cells and decimal points.
        elements: atomic numbers of the model, which a formula that does not name them wants to be absent.

    Raises:
        DataError: the file cannot be read, has no row, a column without a name or twice, or a cell that is none of
            these.
    """
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path} is of an unknown kind; a table of targets must end in {' or '.join(EXTENSIONS)}.")
    if not path.exists():
        raise DataError(f"table {path} cannot be read (No such file or directory).")
    names, rows = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    if not rows:
        raise DataError(f"{path} has no rows; a table of targets has one per molecule.")
    _check_names(names, path)
    cells = dict(zip(names, zip(*rows, strict=True), strict=True))
    keys, formulas = (cells.pop(name, None) for name in (KEY, FORMULA_COLUMN))
    columns = {name: [_ends(cell, name, row, path) for row, cell in _numbered(each)] for name, each in cells.items()}
    sizes, counts = (columns.pop(name, None) for name in (SIZE_COLUMN, COUNT_COLUMN))
    if formulas:
        columns |= _formulas(formulas, elements, columns, path)
    targets = tuple(zip(*columns.values(), strict=True)) if columns else ((),) * len(rows)
    atoms = () if sizes is None else _whole(sizes, SIZE_COLUMN, "numbers of atoms", path)
    asked = () if counts is None else tuple(count or 1 for count in _whole(counts, COUNT_COLUMN, _COUNTS, path))
    return WishTable(Targets(tuple(columns), targets, atoms), asked, _keys(keys, path) if keys else ())


def _numbered(column: Sequence[object]) -> Iterator[tuple[int, object]]:
    """The cells of a column with the numbers of their rows, from 1."""
    return enumerate(column, start=1)


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
    if _is_empty(cell):
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


def _whole(column: list[Bounds], name: str, what: str, path: Path) -> tuple[int | None, ...]:
    """Whole numbers from 1 on, None where the column is open."""
    for row, (number, end) in enumerate(column, start=1):
        if not np.isnan(number) and not (1 <= number <= MOST_WISHES and number == int(number) == end):
            shown = f"{number:.12g}" if number == end else f"{number:g}:{end:g}"
            raise DataError(f"column '{name}' of {path} must hold {what}, not {shown} (row {row}).")
    return tuple(None if np.isnan(number) else int(number) for number, _ in column)


def _formulas(
    cells: Sequence[object], elements: Sequence[int], others: Collection[str], path: Path
) -> dict[str, list[Bounds]]:
    """Formulas as a column for each element."""
    counts: list[Mapping[int, int] | None] = []
    for row, cell in _numbered(cells):
        try:
            counts.append(None if _is_empty(cell) else parse_formula(str(cell).strip()))
        except DataError as error:
            shown = f"'{listed([str(cell)])}' (row {row})"
            raise DataError(
                f"column '{FORMULA_COLUMN}' of {path} must hold formulas such as C7H10O2, not {shown}."
            ) from error
    known = sorted({*elements, *(number for each in counts for number in each or ())})
    names = {count_name(number): number for number in known}
    if twice := [name for name in names if name in others]:
        raise DataError(f"{path} asks for atoms in two ways, in '{FORMULA_COLUMN}' and in '{twice[0]}'; give one.")
    ends = ([OPEN if each is None else (each.get(number, 0),) * 2 for each in counts] for number in known)
    return {name: [(float(low), float(high)) for low, high in column] for name, column in zip(names, ends, strict=True)}


def _keys(cells: Sequence[object], path: Path) -> tuple[str, ...]:
    """What the rows are called, different for each; whole numbers are texts without decimals."""
    rows: dict[str, int] = {}
    for row, cell in _numbered(cells):
        key = "" if _is_empty(cell) else str(fit_cell(cell, str)).strip()
        if not key or len(key) > NAME:
            raise DataError(f"column '{KEY}' of {path} must have a text of 1 to {NAME} characters in row {row}.")
        if key in rows:
            both = f"rows {rows[key]} and {row} are both '{key}'"
            raise DataError(f"column '{KEY}' of {path} must tell the rows apart, but {both}.")
        rows[key] = row
    return tuple(rows)


def _is_empty(cell: object) -> bool:
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _EMPTY)
