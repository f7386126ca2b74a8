"""Columns out of values of any type: whole numbers, numbers or text, and what did not fit into them.

A column is one array [M]: int64, float64 with NaN where a value is unknown, or text with '' where it is unknown.
No value is changed to make it fit: it stays what it is, or it is unknown and counted.
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.electrons import TOTAL_CHARGE
from ead_core.data.misfits import KEPT_AS_TEXT, NO_NUMBER, NO_SCALAR, TOO_LONG, Misfit, misfit
from ead_core.data.numerals import exact, parse_number
from ead_core.data.total_charges import charge_rank, settle_total_charge

TEXT_PROPERTIES = (
    "smiles",
    "molecule",
    "name",
    "title",
    "warning",
    "hardware",
    "selected_by",
    "key",
    *("inchikey", "molblock", "model", "fingerprint", "checks", "predicted_by"),
)  # text even where it looks like numbers
NUMERIC_PROPERTIES = (  # numbers even where most cells are none
    *("rotA", "rotB", "rotC", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv"),
    TOTAL_CHARGE,
)
IDENTIFIERS = ("id", "index", "seed")  # True and False are none
_WIDEST = 2**26  # characters of a fixed-width text array that are always allowed
_WASTE = 8  # how much larger than its texts a greater one may be
_LARGEST_FLOAT = float(np.finfo(np.float64).max)
_CODE = re.compile(r"[+-]?[0-9]+")
_ALMOST = re.compile(
    r"[+-]?[0-9][0-9.]*(?:[,'’][0-9]+)+(?:\.[0-9]+)?(?:\s*[^\W\d_].*)?|[+-]?[0-9][0-9.]*\s*[^\W\d_%°].*"
)

Cell = bool | int | float | str


class Text(str):
    """A text that its source marks as one, by quotes for example, so that it is no number even if it looks like one."""


class Column(NamedTuple):
    """An array [M] of int64, float64 or text, None if no value fits into one; and what did not fit."""

    values: NDArray[Any] | None
    misfits: tuple[Misfit, ...] = ()


def make_columns(
    values: Mapping[str, Sequence[object] | NDArray[Any]], *, typed: bool = False
) -> tuple[dict[str, NDArray[Any]], tuple[Misfit, ...]]:
    """All columns of a table, and what did not fit into them; the total charge is called `formal_charge` in the end.

    Args:
        values: by name, see `make_column`.
        typed: see `make_column`.
    """
    columns = {name: make_column(name, cells, typed=typed) for name, cells in values.items()}
    arrays = {name: column.values for name, column in columns.items() if column.values is not None}
    misfits = tuple(itertools.chain.from_iterable(column.misfits for column in columns.values()))
    return arrays, misfits + settle_total_charge(arrays)


def known_name(name: str) -> str:
    """The name under which a property is known: that of a text property in lower case, any other as it is."""
    return name.lower() if name.lower() in TEXT_PROPERTIES else name


def make_column(name: str, values: Sequence[object] | NDArray[Any], *, typed: bool = False) -> Column:
    """The column of any values.

    Text is a number only as `parse_number` reads it, and a column is numeric if more than half of its values are
    numbers (if any is, for the properties of QM9); else it is text, word for word. Integers with leading zeros, or too
    large for a number, are codes, and make a column of integers text. Integers with unknown ones among them are floats.

    Args:
        name: of the column; some names are always text, others always numbers.
        values: [M] Python or NumPy values; None and NaN are unknown, also an empty text; lists and the like do not fit.
            An array of more than one axis stays as it is.
        typed: the source distinguishes text from numbers, so that text that looks like a number is text.
    """
    if isinstance(values, np.ndarray) and _is_plain(name, values):
        return Column(values.astype(np.int64) if values.ndim == 1 and values.dtype.kind in "iu" else values)
    cells = [_cell(value) for value in values]
    nested = [cell for cell in cells if not isinstance(cell, Cell | None)]
    scalars: list[Cell | None] = [cell if isinstance(cell, Cell) else None for cell in cells]
    misfits = misfit(name, NO_SCALAR, nested)
    if nested and all(cell is None for cell in scalars):
        return Column(None, misfits)
    found = _scalar_column(name, scalars, typed=typed)
    return Column(found.values, misfits + found.misfits)


def join_columns(name: str, parts: Sequence[NDArray[Any] | None], sizes: Sequence[int]) -> Column:
    """One column of several: unknown where a part has none, and of the type that all values together have.

    Args:
        name: of the column.
        parts: arrays [M_i] (or [M_i, …], which are joined only if they agree), None where there is none.
        sizes: M_i of every part.
    """
    arrays = [part for part in parts if part is not None]
    if any(array.ndim > 1 for array in arrays):
        return _join_nested(name, parts, sizes)
    if len(arrays) == len(parts) and _agree(arrays):
        return Column(np.concatenate(arrays))
    lists = ([None] * size if part is None else part.tolist() for part, size in zip(parts, sizes, strict=True))
    return make_column(name, list(itertools.chain.from_iterable(lists)), typed=_all_text(arrays))


def known_values(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column [M] is neither NaN nor an empty text."""
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    return values != "" if values.dtype.kind in "UO" else np.ones(len(values), dtype=bool)


def are_integers(values: NDArray[Any]) -> bool:
    """Whether a column [M] of floats holds integers that are floats only because there are unknown ones among them."""
    known = known_values(values)
    return values.dtype.kind == "f" and not known.all() and bool((values[known] == np.round(values[known])).all())


def fit_cell(value: object, kind: type[int] | type[float] | type[str]) -> int | float | str | None:
    """A value for a column whose type is given, None if it is unknown or would have to be changed.

    A whole float is an integer, and a number is also a text; but 1.5, True, '1', a list, and what has more than 64 bits
    are no integers.
    """
    plain = _cell(value)
    if plain is None or not isinstance(plain, Cell):
        return None
    if kind is str:
        return _as_text(plain)
    if isinstance(plain, bool | str):
        return None
    if kind is float:
        return float(plain) if abs(plain) < _LARGEST_FLOAT else None
    return int(plain) if float(plain).is_integer() and -(2**63) <= plain < 2**63 else None


def _is_plain(name: str, values: NDArray[Any]) -> bool:
    """Whether nothing can be wrong with an array, be it for its type or for its axes."""
    numbers = values.dtype.kind == "f" or (values.dtype.kind in "iu" and values.dtype != np.uint64)
    return values.ndim > 1 or (numbers and name not in TEXT_PROPERTIES)


def _agree(arrays: Sequence[NDArray[Any]]) -> bool:
    """Whether arrays can be joined as they are, without giving all texts the room of a giant one."""
    (kind, *others) = {array.dtype.kind for array in arrays}
    widest = max(array.dtype.itemsize for array in arrays) // 4
    return not others and (kind in "biuf" or (kind == "U" and widest * sum(map(len, arrays)) <= _WIDEST))


def _all_text(arrays: Iterable[NDArray[Any]]) -> bool:
    return all(array.dtype.kind in "UO" for array in arrays)


def _join_nested(name: str, parts: Sequence[NDArray[Any] | None], sizes: Sequence[int]) -> Column:
    shapes = {part.shape[1:] for part in parts if part is not None}
    if len(shapes) > 1 or any(part is not None and part.dtype.kind not in "biuf" for part in parts):
        count = sum(size for part, size in zip(parts, sizes, strict=True) if part is not None)
        return Column(None, (Misfit(name, NO_SCALAR, count, f"an array of shape {max(shapes, key=len)}"),))
    (shape,) = shapes
    empty = (np.full((size, *shape), np.nan) for size in sizes)
    return Column(np.concatenate([blank if part is None else part for part, blank in zip(parts, empty, strict=True)]))


def _cell(value: object) -> object:
    """A scalar as Python's bool, int, float or text; None if it is unknown; what is no scalar as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, Decimal):
        value = float(value) if Decimal(float(value)) == value else str(value)
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, Cell | list | tuple | dict | set | np.ndarray):
        return value
    return str(value)  # a date, for example


def _scalar_column(name: str, cells: list[Cell | None], *, typed: bool) -> Column:
    parse = not typed or _is_numeric_name(name)
    numbers = [_number(name, cell, parse=parse) for cell in cells]
    if _is_text(name, cells, numbers):
        return _text_column(name, cells, numbers if parse else [])
    whole = all(isinstance(number, int) for number in numbers)
    fitting = numbers if whole else [number if _is_exact(number) else None for number in numbers]
    wrong = [cell for cell, number in zip(cells, fitting, strict=True) if cell is not None and number is None]
    if whole and numbers:
        return Column(np.array(numbers, dtype=np.int64))
    values = np.array([np.nan if number is None else number for number in fitting], dtype=np.float64)
    return Column(values, misfit(name, NO_NUMBER, wrong))


def _number(name: str, cell: Cell | None, *, parse: bool) -> int | float | None:
    if isinstance(cell, bool):
        return None if name in IDENTIFIERS else int(cell)
    if isinstance(cell, str):
        marked = isinstance(cell, Text) and not _is_numeric_name(name)
        return parse_number(cell.strip()) if parse and not marked else None
    return exact(cell) if isinstance(cell, int) else cell


def _is_numeric_name(name: str) -> bool:
    return name in NUMERIC_PROPERTIES or charge_rank(name) is not None


def _is_exact(number: float | None) -> bool:
    """Whether a float holds it."""
    return number is not None and (isinstance(number, float) or int(float(number)) == number)


def _is_text(name: str, cells: list[Cell | None], numbers: list[int | float | None]) -> bool:
    if name in TEXT_PROPERTIES:
        return True
    known = sum(cell is not None for cell in cells)
    found = [number for number in numbers if number is not None]
    if name in NUMERIC_PROPERTIES:
        return name != TOTAL_CHARGE and known > 0 and not found
    whole = all(isinstance(number, int) for number in found)
    if whole and any(map(_is_code, cells, numbers)):
        return True
    if whole and len(found) < len(cells) and not all(map(_is_exact, found)):
        return True  # the unknown ones make it floats, which would change these
    texts = sum(isinstance(cell, str) and number is None for cell, number in zip(cells, numbers, strict=True))
    return texts > 0 and len(found) <= texts


def _is_code(cell: Cell | None, number: float | None) -> bool:
    if cell is None or number is not None or isinstance(cell, bool | float):
        return False
    return isinstance(cell, int) or _CODE.fullmatch(cell.strip()) is not None


def _text_column(name: str, cells: list[Cell | None], numbers: list[int | float | None]) -> Column:
    """The cells as text; it is reported if most of them are numbers, or nearly (`0.25 Hartree`, `0,25`)."""
    texts = ["" if cell is None else _as_text(cell) for cell in cells]
    array, misfits = _text_array(name, texts)
    if name not in TEXT_PROPERTIES and numbers:
        wrong = [text for text, number in zip(texts, numbers, strict=True) if text and number is None]
        wrong = [text for text in wrong if not _CODE.fullmatch(text)]
        almost = sum(number is not None for number in numbers) + sum(
            _ALMOST.fullmatch(text) is not None for text in wrong
        )
        if 2 * almost >= sum(map(bool, texts)):
            misfits += misfit(name, KEPT_AS_TEXT, wrong)
    return Column(array, misfits)


def _as_text(cell: Cell) -> str:
    """Whole floats are integers that had unknown ones among them."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53 else str(cell)


def _text_array(name: str, texts: list[str]) -> tuple[NDArray[Any], tuple[Misfit, ...]]:
    """Texts as wide as the widest, but for those that alone would make the array many times larger than its content."""
    lengths = np.sort(np.array([len(text) for text in texts], dtype=np.int64))
    allowed = len(texts) * lengths <= np.maximum(_WIDEST, _WASTE * np.cumsum(lengths))
    widest = int(lengths[allowed].max(initial=0))
    long = [text for text in texts if len(text) > widest]
    kept = [text if len(text) <= widest else "" for text in texts] if long else texts
    return np.array(kept, dtype=f"<U{max(widest, 1)}"), misfit(name, TOO_LONG, long)
