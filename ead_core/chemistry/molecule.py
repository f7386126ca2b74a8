"""One molecule of a set."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.electrons import TOTAL_CHARGE, whole_charge
from ead_core.chemistry.elements import element_symbol, hill_formula

_WHOLE = ("formal_charge", "id", "index", "seed")  # floats only where some are unknown


@dataclass(frozen=True, eq=False)
class Molecule:
    """One molecule: its atoms, their positions, and what is known of it.

    Attributes:
        charges: [N] atomic numbers.
        positions: [N, 3] in Å.
        properties: values by name; NaN or '' where unknown.
    """

    charges: NDArray[Any]
    positions: NDArray[Any]
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.charges)

    def __repr__(self) -> str:
        return f"Molecule({self.formula}, {len(self)} atoms)"

    @property
    def formula(self) -> str:
        """Hill's formula, such as C2H6O."""
        return hill_formula(Counter(element_symbol(int(number)) for number in self.charges))

    @property
    def total_charge(self) -> int:
        """The property `formal_charge` in e; 0 where it is unknown or no whole number."""
        return whole_charge(self.properties.get(TOTAL_CHARGE))

    @property
    def is_finite(self) -> bool:
        """Whether every coordinate is a number."""
        return bool(np.isfinite(self.positions).all())

    @property
    def known(self) -> dict[str, int | float | str]:
        """Its scalar properties as plain values, without what is unknown (NaN, '' or None)."""
        scalars = {name: value for name, value in self.properties.items() if np.ndim(value) == 0}
        return {name: _plain(name, value) for name, value in scalars.items() if _is_known(value)}


def _is_known(value: Any) -> bool:
    return value not in (None, "", b"") and not (isinstance(value, float) and math.isnan(value))


def _plain(name: str, value: Any) -> int | float | str:
    if isinstance(value, bool) or (name in _WHOLE and isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, int | float | str) else str(value)
