"""Numbers as files spell them. Python's own `int` and `float` accept more: to them `12_3` is 123."""

import math
import re

_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_REAL = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE
)
_FORTRAN = re.compile(r"([+-]?[0-9]*\.[0-9]*)d([+-]?[0-9]+)", re.IGNORECASE)  # double precision: 0.25D-01
_WIDE_EXPONENT = re.compile(r"([+-]?[0-9]*\.[0-9]*)([+-][0-9]{3})")  # Fortran leaves the letter out: 0.25-101
_EXPONENTS = re.compile(r"\*\^|d", re.IGNORECASE)  # Mathematica's and Fortran's


def parse_float(word: str) -> float:
    """A coordinate, be its exponent Fortran's (`1.5D-06`) or Mathematica's (`1.5*^-6`); ValueError if it is none."""
    if "_" in word or not word.isascii():
        raise ValueError(f"could not convert string to float: '{word}'")
    try:
        return float(word)
    except ValueError:
        return float(_EXPONENTS.sub("e", _WIDE_EXPONENT.sub(r"\1e\2", word)))


def parse_number(text: str) -> int | float | None:
    """The number that a cell of a table says; None if it says something else or more.

    Leading zeros make a code, not a number (`007`), and so does an integer that no number here can hold exactly.
    """
    if _WHOLE.fullmatch(text):
        return exact(int(text)) if len(text) < 400 else None  # no float has so many digits
    plain = _FORTRAN.sub(r"\1e\2", text.replace("*^", "e"))
    if not _REAL.fullmatch(plain):
        return None
    value = float(plain)
    return None if math.isinf(value) and "n" not in plain.lower() else value


def exact(number: int) -> int | float | None:
    """An integer as it is if it has 64 bits, else as a float; None if that is another number."""
    if -(2**63) <= number < 2**63:
        return number
    try:
        return float(number) if float(number) == number else None
    except OverflowError:
        return None
