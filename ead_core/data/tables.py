"""What tables from outside have in common, be they parquet or `.npz`: columns become properties under names of ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.common.limits import NAME
from ead_core.data.columns import make_columns
from ead_core.data.misfits import NO_SCALAR, Misfit
from ead_core.data.records import property_name

_SHOWN = 20  # names in a sentence


def table_properties(
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
) -> tuple[dict[str, NDArray[Any]], tuple[Misfit, ...]]:
    """Properties [M] out of the columns of a table whose types are known; see `make_columns`.

    Args:
        columns: values [M] by name; arrays of more axes are left out, and those [M, 1] are taken for [M].
    """
    named: dict[str, Sequence[object] | NDArray[Any]] = {}
    left: list[Misfit] = []
    for given, values in columns.items():
        name = _unused(given, named)
        if isinstance(values, np.ndarray) and values.ndim > 1 and values.shape[1:] != (1,):
            left.append(Misfit(name, NO_SCALAR, len(values), f"an array {list(values.shape[1:])}"))
        else:
            named[name] = _plain(values) if isinstance(values, np.ndarray) else values
    arrays, misfits = make_columns(named, typed=True)
    return {property_name(name): array for name, array in arrays.items()}, (*left, *misfits)


def whole_or_zero(values: NDArray[Any]) -> NDArray[np.int64]:
    """Atomic numbers as whole numbers; what is none becomes 0, which is no element."""
    if values.dtype.kind not in "fiu":
        return np.zeros(values.shape, dtype=np.int64)
    good = (np.abs(values.astype(np.float64)) < 2**31) & (values == np.floor(values))
    return np.where(good, values, 0).astype(np.int64)


def listed(names: Sequence[str]) -> str:
    """The names of columns in a sentence, shortened if they are many or long."""
    shown = [repr(name[:_SHOWN])[1:-1] + "…" * (len(name) > _SHOWN) for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """[M] of an array [M] or [M, 1], integers of any width as int64 if they fit."""
    flat = values.reshape(len(values))
    return flat.astype(np.int64) if flat.dtype.kind in "iu" and flat.dtype != np.uint64 else flat


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """A name of one line that is not empty, not too long, and not taken."""
    plain = " ".join(name.split())[:NAME] or "unnamed"
    while plain in taken:
        plain += "_"
    return plain
