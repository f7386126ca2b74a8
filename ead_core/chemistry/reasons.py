"""Why no bonds could be perceived, in words that say what the molecule lacks rather than what RDKit tried.

Details that differ from molecule to molecule stand in parentheses, so that a card can count like reasons together.
"""

import re
from typing import Any

from numpy.typing import NDArray

from ead_core.chemistry.electrons import electrons
from ead_core.chemistry.elements import element_symbol
from ead_core.chemistry.missing_atoms import NO_HYDROGENS, lacks_hydrogens

UNKNOWN_ELEMENT = "bond orders are not known for "
# What RDKit's perception knows valences of; of other elements, which are metals and noble gases, few or none.
_COVALENT = frozenset([1, *range(5, 10), *range(14, 18), *range(32, 36), *range(50, 54), 82, 83])
_NO_VALENCE = re.compile(r"Unable to determine valence of atom (\d+) with atomic number \d+ and (\d+) bonds")
_VALENCE = re.compile(r"Explicit valence for atom # (\d+) \w+, (\d+),")


class PerceptionError(ValueError):
    """No bond orders go with the coordinates; the message says why."""


def reason_of(charges: NDArray[Any], net_charge: int, error: Exception | None = None) -> str:
    """Why a molecule has no bonds: what it lacks if that is known, else what RDKit says.

    Args:
        charges: atomic numbers [N].
        net_charge: in e.
        error: of RDKit, if it has tried.
    """
    foreign = {int(number) for number in charges} - _COVALENT
    if foreign:
        return UNKNOWN_ELEMENT + ", ".join(element_symbol(number) for number in sorted(foreign))
    if lacks_hydrogens(charges):
        return NO_HYDROGENS
    protons, count = int(charges.sum()), electrons(charges, net_charge)
    if abs(net_charge) > protons:
        return f"its charge is impossible ({_signed(net_charge)} with {protons} protons)"
    if count % 2:
        return (
            f"open shell: an odd number of electrons ({count} with the charge {_signed(net_charge)}), "
            "as of a radical, of an ion whose charge is not stated, or where hydrogens are missing"
        )
    return _translated(charges, net_charge, str(error))


def _translated(charges: NDArray[Any], net_charge: int, text: str) -> str:
    def named(index: str) -> str:
        return f"{element_symbol(charges[int(index)])}{int(index) + 1}"

    if found := _NO_VALENCE.search(text):
        return f"an atom has a number of neighbours that fits no valence ({named(found[1])} has {found[2]})"
    if found := _VALENCE.search(text):
        return f"an atom has more bonds than it can have ({named(found[1])} has {found[2]})"
    if text.startswith("Final molecular charge"):
        return f"no bond orders with closed shells give it the charge {_signed(net_charge)}"
    return text.strip().split("\n")[0].split(";")[0].removesuffix(". Check the input molecules bonding").rstrip(".")


def _signed(charge: int) -> str:
    return f"{charge:+d}" if charge else "0"
