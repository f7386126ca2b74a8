"""Element symbols and atomic numbers, as RDKit's periodic table has them."""

from rdkit import Chem

from ead_core.errors import DataError

CARBON = 6  # atomic number

_PERIODIC_TABLE = Chem.GetPeriodicTable()


def atomic_number(symbol: str) -> int:
    """Atomic number of an element symbol; DataError if there is no such element."""
    try:
        return int(_PERIODIC_TABLE.GetAtomicNumber(symbol))
    except RuntimeError as error:
        raise DataError(f"'{symbol}' is not an element symbol.") from error


def element_symbol(number: int) -> str:
    """Element symbol of an atomic number."""
    return str(_PERIODIC_TABLE.GetElementSymbol(int(number)))
