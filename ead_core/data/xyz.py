"""Reading XYZ text, plain or in the layout of GDB9: frames and their atoms.

A frame is a line with the number of atoms, a comment line, and one line `element x y z …` per atom in Å.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.data.gdb9 import GDB9_MARK, gdb9_properties
from ead_core.data.records import HEAVIEST, Outcome, Property, Record, Unparsed, attempt
from ead_core.data.texts import parse_float
from ead_core.elements import atomic_number
from ead_core.errors import DataError

_COUNT = re.compile(r"\s*\d{1,9}\s*")


class Frame(NamedTuple):
    """The lines of one molecule and the number (from 1) of its first line."""

    line: int
    size: str
    comment: str
    body: list[str]


def parse_xyz(name: str, text: str) -> Iterator[Outcome]:
    """Molecules of one xyz text, plain or GDB9; a bad frame does not disturb its neighbours."""
    return (parse() for parse in unparsed_xyz(name, text.splitlines()))


def unparsed_xyz(name: str, lines: Iterable[str]) -> Iterator[Unparsed]:
    """The same before they are parsed, from lines that are read as they are needed."""
    for number, frame in enumerate(_frames(lines), start=1):
        told = f"{name}, molecule {number} (line {frame.line})"
        yield functools.partial(attempt, told, functools.partial(_record, frame))


def _frames(lines: Iterable[str]) -> Iterator[Frame]:
    """Cut at every line that is a lone integer, except where a comment is due."""
    first, frame = 0, list[str]()
    for number, line in enumerate(lines, start=1):
        opens = len(frame) != 1 and _COUNT.fullmatch(line) if frame else line.strip()
        if opens and frame:
            yield _frame(first, frame)
        if opens:
            first, frame = number, []
        if opens or frame:
            frame.append(line)
    if frame:
        yield _frame(first, frame)


def _frame(line: int, text: list[str]) -> Frame:
    size, comment, *body = [*text, ""] if len(text) == 1 else text
    while body and not body[-1].strip():
        body.pop()
    return Frame(line, size.strip(), comment, body)


def _record(frame: Frame) -> Record:
    if not _COUNT.fullmatch(frame.size):
        raise DataError(f"line {frame.line} must be the number of atoms, not '{frame.size[:40]}'.")
    count = int(frame.size)
    atoms, rest = frame.body[:count], frame.body[count:]
    if len(atoms) < count:
        raise DataError(f"it should have {count} atoms, but only {len(atoms)} lines follow.")
    charges, positions = _atoms(atoms, first_line=frame.line + 2)
    properties: dict[str, Property] = {}
    if frame.comment.startswith(GDB9_MARK):
        properties = gdb9_properties(frame.comment, rest)
    elif rest:
        raise DataError(f"it should have {count} atoms, but {count + len(rest)} lines follow.")
    return Record(charges, positions, properties)


def _atoms(lines: list[str], first_line: int) -> tuple[NDArray[Any], NDArray[Any]]:
    charges, positions = [], []
    for number, line in enumerate(lines, start=first_line):
        try:
            symbol, *coordinates = line.split()
            x, y, z = (parse_float(word) for word in coordinates[:3])
        except ValueError as error:
            raise DataError(f"line {number} must be 'element x y z', not '{line.strip()[:40]}'.") from error
        charges.append(_charge(symbol))
        positions.append((x, y, z))
    return np.array(charges, dtype=np.int64), np.array(positions, dtype=np.float64).reshape(-1, 3)


@functools.lru_cache(maxsize=4096)
def _charge(word: str) -> int:
    """Atomic number of an element symbol in any case, or of an atomic number."""
    charge = int(word) if re.fullmatch(r"\d{1,3}", word) else atomic_number(word.capitalize())
    if not 1 <= charge <= HEAVIEST:
        raise DataError(f"'{word}' is not an element symbol or atomic number.")
    return charge
