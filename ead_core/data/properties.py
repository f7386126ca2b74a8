"""Properties of molecules as numbers: in which units people meet them, and which ones are counted.

Data files keep the units of GDB9; everywhere else a property is in its border unit, that of the literature on
conditional generation (EDM, table 2), which is what people type and read. A property that is not in the table has the
unit of its data file.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ead_core.data.records import HEAVIEST
from ead_core.data.store import MoleculeSet
from ead_core.elements import element_symbol
from ead_core.errors import DataError


@dataclass(frozen=True)
class Unit:
    """A border unit: its symbol, '' if unknown, and by how much values of the data file are multiplied."""

    symbol: str
    factor: float = 1.0


HARTREE = Unit("meV", 27211.386)
AS_IN_THE_DATA = Unit("")
_MEV_PER = {"eV": 1e3, "Hartree": HARTREE.factor, "kcal/mol": 43.36410, "kJ/mol": 10.36427, "cm⁻¹": 0.1239842}
UNITS = {
    "gap": HARTREE,
    "homo": HARTREE,
    "lumo": HARTREE,
    "alpha": Unit("bohr³"),
    "mu": Unit("D"),
    "Cv": Unit("cal/mol/K"),
}
COUNT = Unit("atoms")
_COUNTED = {f"atoms_{element_symbol(number)}": number for number in range(1, HEAVIEST + 1)}


def counted_element(name: str) -> int | None:
    """The atomic number of X if the property is `atoms_X`, the number of atoms of X; else None."""
    return _COUNTED.get(name)


def count_name(number: int) -> str:
    """The property that counts atoms of an element."""
    return f"atoms_{element_symbol(number)}"


def unit_of(name: str) -> Unit:
    """The border unit of a property."""
    return COUNT if name in _COUNTED else UNITS.get(name, AS_IN_THE_DATA)


def to_border(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a data file in border units, any shape."""
    return values * unit_of(name).factor


def from_border(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `to_border`."""
    return values / unit_of(name).factor


def count_atoms(molecules: MoleculeSet, number: int) -> NDArray[np.float64]:
    """Atoms of an element in each molecule [M]."""
    owner = np.repeat(np.arange(len(molecules)), molecules.num_atoms)
    return np.bincount(owner[molecules.charges == number], minlength=len(molecules)).astype(np.float64)


def property_values(molecules: MoleculeSet, name: str) -> NDArray[np.float64]:
    """A property of each molecule [M] in border units, NaN where it is unknown.

    Raises:
        DataError: the set has no such property, or it is no number per molecule.
    """
    number = counted_element(name)
    if number is not None:
        return count_atoms(molecules, number)
    numeric = sorted(name for name, values in molecules.properties.items() if _is_numeric(values))
    if name not in numeric:
        known = ", ".join(numeric) or "none"
        raise DataError(
            f"the data have no numeric property '{name}'; they have {known}, and atoms_X for every element X."
        )
    values = np.asarray(molecules.properties[name], dtype=np.float64)
    return to_border(name, np.where(np.isfinite(values), values, np.nan))


def _is_numeric(values: NDArray) -> bool:
    return np.ndim(values) == 1 and np.asarray(values).dtype.kind in "biuf"


def parse_formula(formula: str) -> dict[int, int]:
    """Atoms per atomic number of a formula such as C7H10O2; an element may occur more than once.

    Raises:
        DataError: it is no formula.
    """
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    counts: dict[int, int] = {}
    for symbol, count in parts:
        number = counted_element(f"atoms_{symbol}")
        if number is None:
            raise DataError(f"'{formula}' is no formula such as C7H10O2, since {symbol} is no element.")
        counts[number] = counts.get(number, 0) + int(count or 1)
    if not parts or "".join(symbol + count for symbol, count in parts) != formula:
        raise DataError(f"'{formula}' is no formula such as C7H10O2.")
    return counts


def meant_in(name: str, value: float, low: float, high: float) -> str:
    """What a value would be if it were given in another unit than the border unit, '' if none puts it between bounds.

    Args:
        name: of the property.
        value: in the border unit, as it was understood.
        low, high: bounds in the border unit.
    """
    for unit, factor in _MEV_PER.items() if unit_of(name) == HARTREE else ():
        if low <= factor * value <= high:
            return f"{value:.6g} {unit} would be {shown(name, factor * value)}"
    return ""


def shown(name: str, *values: float) -> str:
    """Values of a property for people: `13.21 to 110.8 bohr³`."""
    return f"{' to '.join(f'{value:.6g}' for value in values)} {unit_of(name).symbol}".rstrip()
