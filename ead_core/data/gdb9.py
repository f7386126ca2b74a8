"""What the original GDB9 (QM9) files add to plain xyz: fifteen properties, and three lines after the atoms.

Ramakrishnan, Dral, Rupp, von Lilienfeld, Sci. Data 1, 140022 (2014), table 3, and their exclusion list.
"""

import re
from pathlib import Path

from ead_core.data.numerals import parse_float, parse_number
from ead_core.data.records import Property
from ead_core.data.texts import read_text
from ead_core.errors import DataError

GDB9_MARK = "gdb "  # how the second line of every file begins
PROPERTIES = (  # in the order of the header
    *("rotA", "rotB", "rotC"),  # GHz
    *("mu", "alpha"),  # D, bohr³
    *("homo", "lumo", "gap"),  # Hartree
    *("r2", "zpve"),  # bohr², Hartree
    *("U0", "U", "H", "G"),  # Hartree
    "Cv",  # cal/mol/K
)
_LEADING_INTEGER = re.compile(r"^[\ufeff \t]*([0-9]{1,9})(?!\S)", re.MULTILINE)


def gdb9_properties(header: str, trailer: list[str]) -> dict[str, Property]:
    """Properties in their original units, `index` (the GDB9 number) and `smiles`.

    Args:
        header: the second line, `gdb <number> <15 values>`.
        trailer: the non-empty lines after the atoms: none, or frequencies, SMILES and InChI.

    Raises:
        DataError: a header or trailer of another form.
    """
    words = header.split()[1:]
    if len(words) != 1 + len(PROPERTIES):
        raise DataError(f"its 'gdb' line must hold a number and {len(PROPERTIES)} properties, not {len(words)} values.")
    if len(trailer) not in (0, 3):
        raise DataError(f"after the atoms there must be no line or 3 (frequencies, SMILES, InChI), not {len(trailer)}.")
    try:
        values = [parse_float(word) for word in words[1:]]
    except ValueError as error:
        raise DataError(f"its 'gdb' line holds something that is not a number ({error}).") from error
    index = parse_number(words[0])
    if not isinstance(index, int):
        raise DataError(f"its 'gdb' line holds something that is not a number of a molecule ({words[0][:40]}).")
    # The line has the SMILES of GDB-17 and then that of the relaxed geometry, which is the molecule at hand.
    smiles = trailer[1].split()[-1] if trailer else ""
    return {"index": index, **dict(zip(PROPERTIES, values, strict=True)), "smiles": smiles}


def read_exclusions(path: Path) -> set[int]:
    """GDB9 numbers of an exclusion list such as `uncharacterized.txt`.

    Only lines that begin with an integer count, so a header and a footer may say what they like.

    Raises:
        DataError: the file is missing, unreadable, or has no such line.
    """
    numbers = {int(number) for number in _LEADING_INTEGER.findall(read_text(path))}
    if not numbers:
        raise DataError(f"exclusion list {path} has no line that begins with a GDB9 number.")
    return numbers
