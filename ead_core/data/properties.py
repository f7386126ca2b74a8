"""Properties of molecules as numbers: in which units people meet them, and which ones are counted.

Data files keep the units of GDB9; everywhere else a property is in its border unit, that of the literature on
conditional generation (EDM, table 2), which is what people type and read. A property that is not in the table has the
unit of its data file.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.elements import HEAVIEST, element_symbol
from ead_core.data.store import MoleculeSet
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


@dataclass(frozen=True)
class Range:
    """Where values of a property can be, in the unit of the data file, and other units that are often meant.

    Attributes:
        unit: of the data file.
        low, high: per molecule or per atom, far beyond what is known of stable molecules.
        per_atom: whether they are per atom.
        others: other units, and how many of them are one `unit`.
    """

    unit: str
    low: float
    high: float
    per_atom: bool = False
    others: tuple[tuple[str, float], ...] = ()


_ENERGIES = (("eV", 27.211386), ("kcal/mol", 627.5095), ("kJ/mol", 2625.4996), ("meV", 27211.386))
_ORBITAL = Range("Hartree", -2.0, 0.6, others=_ENERGIES)
_TOTAL = Range("Hartree", -1.2, -0.3, others=_ENERGIES)  # of the Thomas-Fermi energies of its atoms
_TOTALS = ("U0", "U", "H", "G")
RANGES = {
    "gap": Range("Hartree", 0.0, 1.5, others=_ENERGIES),
    "homo": _ORBITAL,
    "lumo": _ORBITAL,
    "zpve": Range("Hartree", 0.0, 0.03, per_atom=True, others=_ENERGIES),
    "mu": Range("D", 0.0, 150.0),
    "alpha": Range("bohr³", 1.2, 60.0, per_atom=True, others=(("Å³", 0.148185),)),
    "Cv": Range("cal/mol/K", 0.3, 6.2, per_atom=True, others=(("J/mol/K", 4.184),)),
    **dict.fromkeys(_TOTALS, _TOTAL),
}


def implausible(molecules: MoleculeSet, names: Iterable[str] = tuple(RANGES)) -> list[str]:
    """A sentence for each known property with values far from what molecules have, as if in another unit.

    Args:
        molecules: with their properties in the units of GDB9.
        names: of the properties to look at; others than QM9's are not known.
    """
    sentences = []
    for name in names:
        values = molecules.properties.get(name)
        if name in RANGES and values is not None and _is_numeric(values) and len(molecules):
            sentences += _beyond(name, np.asarray(values, dtype=np.float64), _scale(name, molecules))
    return sentences


def _scale(name: str, molecules: MoleculeSet) -> NDArray[np.float64]:
    """What the range is a multiple of, for each molecule [M]."""
    if name in _TOTALS:
        return np.add.reduceat(0.7687 * molecules.charges ** (7 / 3), molecules.offsets[:-1])
    return molecules.num_atoms.astype(np.float64) if RANGES[name].per_atom else np.ones(len(molecules))


def _beyond(name: str, values: NDArray[np.float64], scale: NDArray[np.float64]) -> list[str]:
    expected = RANGES[name]
    relative = (values / scale)[np.isfinite(values)]
    outside = ~_within(expected, relative)
    if not outside.any():
        return []
    middle = np.median(relative[outside], keepdims=True)
    other = next((unit for unit, factor in expected.others if _within(expected, middle / factor)), "")
    far = values[np.isfinite(values)][outside]
    return [
        f"{name}: {len(far):,} of {len(relative):,} values ({shown_range(far)}) are far from what molecules have in "
        f"{expected.unit}, the unit of '{name}' here{f'; are they in {other}?' if other else '.'}"
    ]


def _within(expected: Range, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (values >= expected.low) & (values <= expected.high)


def shown_range(values: NDArray[np.float64]) -> str:
    """`5 to 6.9`, or the one value."""
    return " to ".join(dict.fromkeys(f"{value:.4g}" for value in (values.min(), values.max())))


def _is_numeric(values: NDArray) -> bool:
    return np.ndim(values) == 1 and np.asarray(values).dtype.kind in "biuf"


_DIGITS = 3  # of a number of atoms in a formula


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
        if len(count) > _DIGITS:
            raise DataError(f"'{formula}' asks for more atoms of {symbol} than any molecule here has.")
        counts[number] = counts.get(number, 0) + int(count or 1)
    if not parts or "".join(symbol + count for symbol, count in parts) != formula:
        raise DataError(f"'{formula}' is no formula such as C7H10O2.")
    return counts


def meant_in(name: str, value: float, low: float, high: float) -> str:
    """Another unit in which a value lies between the bounds, and the value in the border unit; '' if there is none.

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
