"""The total charge of molecules among the columns of a table: by whatever names it is known, it gets its one name."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.electrons import TOTAL_CHARGE
from ead_core.data.misfits import NO_NUMBER, Misfit, misfit

NO_TOTAL_CHARGE = "not a whole number, so the column is not used as total charges"
CONTRADICTION = "in contradiction to the total charge that the record states elsewhere, which is used"
_CHARGE_NAMES = (
    "formalcharge",
    "totalcharge",
    "netcharge",
    "pubchemtotalcharge",
    "charge",
)  # the first that is there counts
_LARGEST_CHARGE = 1000


def settle_total_charge(columns: dict[str, NDArray[Any]]) -> tuple[Misfit, ...]:
    """Give the total charge, by whatever names it is known, its one name; what cannot be it keeps its own."""
    names = sorted((name for name in columns if charge_rank(name) is not None), key=lambda n: charge_rank(n) or 0)
    total: NDArray[Any] | None = None
    misfits: tuple[Misfit, ...] = ()
    for name in names:
        values = columns[name]
        wrong = _no_charges(values)
        if wrong.any() and (name != TOTAL_CHARGE or values.ndim > 1):
            misfits += misfit(name, NO_TOTAL_CHARGE, values[wrong].tolist())
            if name == TOTAL_CHARGE:
                del columns[name]
            continue
        misfits += misfit(name, NO_NUMBER, values[wrong].tolist())
        values = np.where(wrong, np.nan, values)
        if total is None:
            total = values.astype(np.float64)
        against = ~np.isnan(total) & ~np.isnan(values) & (total != values)
        total = np.where(np.isnan(total), values, total)
        misfits += misfit(name, CONTRADICTION, values[against].astype(np.int64).tolist())
        if not against.any():
            del columns[name]
    if total is not None:
        columns[TOTAL_CHARGE] = total if np.isnan(total).any() else total.astype(np.int64)
    return misfits


def charge_rank(name: str) -> int | None:
    """The place of a column's name among those of the total charge; None if it is none."""
    plain = re.sub(r"[\W_]+", "", name).lower()
    return _CHARGE_NAMES.index(plain) if plain in _CHARGE_NAMES else None


def _no_charges(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which known values [M] cannot be the charge of a molecule."""
    if values.ndim > 1 or values.dtype.kind not in "if":
        return np.array([str(value) != "" for value in values])
    return ~np.isnan(values) & ((values != np.round(values)) | (np.abs(values) >= _LARGEST_CHARGE))
