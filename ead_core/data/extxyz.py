"""The comment line of an xyz frame: `key=value`, and in extended xyz the columns of its atoms and its periodic cell.

`Properties=species:S:1:pos:R:3:forces:R:3` names the columns (S text, R real, I integer, L logical) and how many words
each has; `Lattice="ax ay az bx by bz cx cy cz"` and `pbc="T T F"` say in which directions the atoms are repeated.
"""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.data.columns import Text
from ead_core.data.misfits import Misfit
from ead_core.data.numerals import parse_float, parse_number
from ead_core.errors import DataError

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_KEY = rf"(?P<key>{_QUOTED}|[^\s=\"'{{}}\[\]]+)"
_NUMBER_IN_A_LIST = r"[+-]?[0-9.]+(?:[eEdD][+-]?[0-9]+)?(?=[,;]\s*[^\s=]+\s*=)"  # charge=1,energy=-40.5
_VALUE = (
    rf"(?P<value>(?:{_QUOTED}|'[^']*'|\{{[^}}]*\}}|\[(?:[^\[\]]|\[[^\]]*\])*\])(?=[\s,;]|$)|{_NUMBER_IN_A_LIST}|\S+)"
)
_ENTRY = re.compile(rf"{_KEY}\s*=\s*{_VALUE}")
_UNIT = re.compile(
    r"\s*(?:(?:m|k)?eV|Hartrees?|Ha|E_?h|a\.?u\.?|k?cal(?:/mol)?|k?J(?:/mol)?|Ry(?:dberg)?|D(?:ebye)?|bohr\S*|Å\S*|A\^\d"
    r"|Ang\S*|cm\S*|GHz|MHz|K|e)(?=[\s,;)]|$)",
    re.IGNORECASE,
)
_RESERVED = {  # keys, in other cases only where the value looks like theirs
    "Properties": re.compile(r".*:[SRIL]:[0-9]"),
    "Lattice": re.compile(r"[\s\[{]*[-+.0-9]"),
    "pbc": re.compile(r"[\s\[{]*[TtFf01]"),
}
_ELEMENTS = ("species", "symbols", "symbol", "element", "elements", "z", "numbers", "atomic_numbers", "atomic_number")
_POSITIONS = ("pos", "position", "positions", "coords", "coordinates")
_PERIODIC_CELL = "left out: a periodic cell, without which each molecule is read"
_GAP = 3.0  # Å; atoms of neighbouring images that are nearer may be bonded

PLAIN = "species:S:1:pos:R:3"


class Comment(NamedTuple):
    """What a comment says.

    Attributes:
        properties: `key=value` as they stand, but for what follows.
        columns: of `Properties=`, None if it is not extended xyz.
        lattice, pbc: of the periodic cell, '' where it says nothing.
    """

    properties: dict[str, str]
    columns: str | None
    lattice: str
    pbc: str


class Layout(NamedTuple):
    """Where an atom's line has what: words of a line, the word of the element, and the first word of the position."""

    width: int
    element: int
    position: int


def parse_comment(comment: str) -> Comment:
    """The entries of a comment; words that belong to none are left out."""
    entries: dict[str, str] = {}
    for found in _ENTRY.finditer(comment):
        unit = _UNIT.match(comment, found.end())
        entries[_unquoted(found["key"]).lstrip(",;")] = _value(found["value"], unit[0] if unit else "")
    columns, lattice, pbc = (_taken(entries, key) for key in _RESERVED)
    return Comment(entries, columns, lattice or "", pbc or "")


def _taken(entries: dict[str, str], reserved: str) -> str | None:
    """The value of a reserved key, which is no property."""
    for name, value in entries.items():
        if name == reserved or (name.lower() == reserved.lower() and _RESERVED[reserved].match(value)):
            return entries.pop(name)
    return None


def _value(word: str, unit: str) -> str:
    """Its text; a number keeps the unit behind it, and is none for it, and loses a comma between entries."""
    if word[0] in "\"'":
        return Text(_unquoted(word))
    if parse_number(word.rstrip(",;")) is None:
        return word
    return f"{word}{unit}" if unit else word.rstrip(",;")


def _unquoted(word: str) -> str:
    if word[0] not in "\"'":
        return word
    try:
        return str(json.loads(word, strict=False))
    except ValueError:  # single quotes, or escapes that are not JSON's
        return re.sub(r"\\(.)", r"\1", word[1:-1])


@functools.lru_cache(maxsize=64)
def layout_of(columns: str) -> Layout:
    """Where the columns of `Properties=` put element and position.

    Raises:
        DataError: columns of another form, or without these two.
    """
    words = columns.split(":")
    names, kinds, counts = words[::3], words[1::3], words[2::3]
    if len(words) % 3 or not set(kinds) <= set("SRIL") or not all(re.fullmatch(r"[1-9][0-9]{0,3}", c) for c in counts):
        raise DataError(f"its Properties must be name:type:number, repeated, such as {PLAIN}, not '{columns[:60]}'.")
    places, width = {}, 0
    for name, kind, count in zip(names, kinds, map(int, counts), strict=True):
        places[name.lower(), count, kind in "RI"] = width
        width += count
    element = next((places[key] for name in _ELEMENTS for key in places if key[:2] == (name, 1)), None)
    position = next((places[key] for name in _POSITIONS for key in places if key == (name, 3, True)), None)
    if element is None or position is None:
        raise DataError(
            f"its Properties must name elements (species:S:1) and positions (pos:R:3), not '{columns[:60]}'."
        )
    return Layout(width, element, position)


def periodic_cell(comment: Comment, positions: NDArray[Any]) -> tuple[Misfit, ...]:
    """What to report of a frame that is repeated in space, if it is.

    Raises:
        DataError: it reaches its own images, so that it is no molecule by itself; or a cell that cannot be read.
    """
    repeated = _repeated(comment)
    if not any(repeated):
        return ()
    box = comment.lattice or comment.pbc
    if comment.lattice:
        heights, extents = _extents(_cell(comment.lattice), positions)
        if (np.asarray(repeated) & (heights - extents < _GAP)).any():
            raise DataError("it is periodic and reaches its own images, so that it is no molecule by itself.")
    return (Misfit("Lattice" if comment.lattice else "pbc", _PERIODIC_CELL, 1, f"'{box[:40]}'"),)


def _repeated(comment: Comment) -> list[bool]:
    """In which directions; a cell that does not say so is repeated in all."""
    words = list(comment.pbc) if re.fullmatch("[TF]{3}", comment.pbc) else re.findall(r"[^\s,\[\]{}]+", comment.pbc)
    words = words or ["T" if comment.lattice else "F"]
    known: Mapping[str, bool] = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
    if len(words) not in (1, 3) or not all(word.lower() in known for word in words):
        raise DataError(f"its pbc must be three of T and F, not '{comment.pbc[:40]}'.")
    return [known[word.lower()] for word in (words * 3)[:3]]


def _cell(lattice: str) -> NDArray[np.float64]:
    """Rows are the vectors of the cell in Å."""
    try:
        vectors = np.array([parse_float(word) for word in re.findall(r"[^\s,\[\]{}]+", lattice)]).reshape(3, 3)
    except ValueError as error:
        raise DataError(f"its Lattice must be nine numbers, not '{lattice[:60]}'.") from error
    if not np.isfinite(vectors).all() or abs(np.linalg.det(vectors)) < 1e-6:
        raise DataError("its Lattice has no volume.")
    return vectors


def _extents(cell: NDArray[np.float64], positions: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Height of the cell, and extent of the atoms, along the normal of each of its faces [3]."""
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    with np.errstate(invalid="ignore"):  # a coordinate that is no number is reported elsewhere
        return heights, np.ptp(positions @ inverse, axis=0) * heights
