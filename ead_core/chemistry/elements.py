"""Element symbols and atomic numbers, as RDKit's periodic table has them."""

from collections.abc import Mapping

from rdkit import Chem

from ead_core.errors import DataError

CARBON = 6  # atomic number
HEAVIEST = 118  # the last element of the periodic table

_PERIODIC_TABLE = Chem.GetPeriodicTable()
_HEAVY_HYDROGEN = ("D", "T")


def atomic_number(symbol: str) -> int:
    """Atomic number of an element symbol, or of deuterium or tritium; DataError if there is no such element."""
    if symbol in _HEAVY_HYDROGEN:
        return 1
    try:
        return int(_PERIODIC_TABLE.GetAtomicNumber(symbol))
    except RuntimeError as error:
        raise DataError(f"'{symbol}' is not an element symbol.") from error


def element_symbol(number: int) -> str:
    """Element symbol of an atomic number."""
    return str(_PERIODIC_TABLE.GetElementSymbol(int(number)))


def hill_formula(counts: Mapping[str, int]) -> str:
    """Formula of atoms counted by symbol, in Hill's order: C and H first where there is carbon, then the alphabet."""
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    order = first + sorted(set(counts) - set(first))
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order)
