"""Reading xyz text, plain, extended (extxyz.py) or in the layout of GDB9 (gdb9.py): frames and their atoms.

A frame is a line with the number of atoms, a comment line, and one line per atom: `element x y z …`, in Å, unless the
comment says in which columns these are.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.elements import HEAVIEST, atomic_number
from ead_core.common.limits import RECORD
from ead_core.data.columns import known_name
from ead_core.data.extxyz import PLAIN, Layout, layout_of, parse_comment, periodic_cell
from ead_core.data.gdb9 import GDB9_MARK, gdb9_properties
from ead_core.data.numerals import parse_float
from ead_core.data.records import Record, Unparsed, attempt
from ead_core.data.texts import too_long
from ead_core.errors import DataError

_COUNT = re.compile(r"\s*[0-9]{1,9}\s*")
_FEW = 3  # atoms whose numbers may well be 1, 2, 3


class Frame(NamedTuple):
    """The lines of one molecule and the number (from 1) of its first line."""

    line: int
    size: str
    comment: str
    body: list[str]


def unparsed_xyz(name: str, lines: Iterable[str]) -> Iterator[Unparsed]:
    """Molecules of the lines of an xyz text, before they are parsed; a bad frame does not disturb its neighbours.

    Raises:
        DataError: a frame is longer than `limits.RECORD`.
    """
    for number, frame in enumerate(_frames(name, lines), start=1):
        label = f"{name}, molecule {number} (line {frame.line})"
        yield functools.partial(attempt, label, functools.partial(_record, frame))


def _frames(name: str, lines: Iterable[str]) -> Iterator[Frame]:
    """Cut at every line that is a lone integer, except where a comment is due."""
    first, frame, room = 0, list[str](), RECORD
    for number, line in enumerate(lines, start=1):
        opens = len(frame) != 1 and _COUNT.fullmatch(line) if frame else line.strip()
        if opens and frame:
            yield _frame(first, frame)
        if opens:
            first, frame, room = number, [], RECORD
        if opens or frame:
            frame.append(line.rstrip("\n"))
            room -= len(line)
        if room < 0:
            raise DataError(too_long(name, first))
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
    if frame.comment.startswith(GDB9_MARK):
        charges, positions = _atoms(atoms, frame.line + 2)
        return Record(charges, positions, gdb9_properties(frame.comment, rest))
    if rest:
        raise DataError(f"it should have {count} atoms, but {count + len(rest)} lines follow.")
    comment = parse_comment(frame.comment)
    charges, positions = _atoms(atoms, frame.line + 2, comment.columns)
    properties = {known_name(key): value for key, value in comment.properties.items()}
    return Record(charges, positions, properties, periodic_cell(comment, positions))


def _atoms(lines: list[str], first_line: int, columns: str | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    width, place, first = layout = layout_of(PLAIN if columns is None else columns)
    charges, positions = [], []
    for number, line in enumerate(lines, start=first_line):
        words = line.split()
        if columns is not None and len(words) != width:
            raise DataError(f"line {number} must have the {width} columns of its Properties, not {len(words)}.")
        try:
            x, y, z = map(parse_float, words[first : first + 3])
            charges.append(_charge(words[place]))
        except (ValueError, IndexError) as error:
            raise DataError(f"line {number} must be '{_shape(layout)}', not '{line.strip()[:40]}'.") from error
        positions.append((x, y, z))
    if columns is None and len(charges) > _FEW and charges == list(range(1, len(charges) + 1)):
        raise DataError("its first column counts the atoms, where their elements should be.")
    return np.array(charges, dtype=np.int64), np.array(positions, dtype=np.float64).reshape(-1, 3)


def _shape(layout: Layout) -> str:
    """How a line should look: element and position among other columns."""
    words = ["…"] * layout.width
    words[layout.element] = "element"
    words[layout.position : layout.position + 3] = "x", "y", "z"
    return " ".join(words)


@functools.lru_cache(maxsize=4096)
def _charge(word: str) -> int:
    """Atomic number of an element symbol in any case, or of an atomic number."""
    charge = int(word) if re.fullmatch(r"[0-9]{1,3}", word) else atomic_number(word.capitalize())
    if not 1 <= charge <= HEAVIEST:
        raise DataError(f"'{word}' is not an element symbol or atomic number.")
    return charge
