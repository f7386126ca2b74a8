"""What a conditional training may know of its molecules: the labels, half of which can be kept for a judge.

A conditional model is judged by a predictor of properties that was trained on other molecules. `conditioning.half` says
which half of the molecules the model may see measured properties of. A molecule's half is one bit of a hash of
`data.split_seed` and what names the molecule (its property `molecule`, which conformers share, else `index`; its atoms
where that is unknown or there is neither), so that it is the same in every file, order and part of a data set.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ead_core.config.sections import ConditioningConfig
from ead_core.data.columns import fit_cell
from ead_core.data.properties import counted_element, property_values
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError

Labels = Mapping[str, NDArray[np.float64]]  # [M] by property, in border units, NaN where unknown


def labels_of(molecules: MoleculeSet, conditioning: ConditioningConfig, seed: int) -> dict[str, NDArray[np.float64]]:
    """The properties that a recipe conditions on, as far as its training may know them; empty if there are none.

    Of molecules of the other half no measured property is known; atoms can be counted in all of them.

    Args:
        molecules: M molecules with their properties.
        conditioning: which properties, and which half.
        seed: of the halves, `data.split_seed`.

    Raises:
        DataError: the molecules have no such property.
    """
    hidden: Any = False
    if conditioning.half != "all" and conditioning.properties:
        hidden = ~in_half(molecules, conditioning.half, seed)
    labels = {}
    for name in conditioning.properties:
        values = property_values(molecules, name)
        labels[name] = values if counted_element(name) else np.where(hidden, np.nan, values)
    return labels


def in_half(molecules: MoleculeSet, half: Literal["first", "second"], seed: int) -> NDArray[np.bool_]:
    """Which molecules [M] belong to a half; the two halves are of nearly equal size and together all."""
    digests = (hashlib.sha256(f"{seed} ".encode() + key).digest() for key in _identities(molecules))
    first = np.array([digest[0] % 2 == 0 for digest in digests], dtype=bool)
    return first if half == "first" else ~first


def _identities(molecules: MoleculeSet) -> Iterator[bytes]:
    """What names each molecule."""
    charges, positions = molecules.charges.astype(np.uint8), molecules.positions.astype(np.float32)
    for name, (start, stop) in zip(_names(molecules), itertools.pairwise(molecules.offsets), strict=True):
        if name is None:
            yield charges[start:stop].tobytes() + positions[start:stop].tobytes()
        else:
            yield name.encode()


def _names(molecules: MoleculeSet) -> Iterable[str | None]:
    """Of the first property that names molecules, as far as they are known."""
    for name in ("molecule", "index"):
        values = np.asarray(molecules.properties.get(name, ""))
        if values.ndim == 1:
            return (None if cell is None else str(cell) for cell in (fit_cell(value, str) for value in values.tolist()))
    return itertools.repeat(None, len(molecules))


@dataclass(frozen=True)
class PropertyStatistics:
    """A property over the training molecules with a label, in border units.

    Attributes:
        mean: of the labels.
        mad: their mean absolute deviation from it.
        smallest, largest: of the labels.
        labels: how many there are.
    """

    mean: float
    mad: float
    smallest: float
    largest: float
    labels: int

    def covers(self, value: float) -> bool:
        """Whether training had values as small and as large, to rounding; not a number (open) is covered."""
        slack = 1e-6 * max(abs(self.smallest), abs(self.largest))
        return not (value < self.smallest - slack or value > self.largest + slack)

    @property
    def learnable(self) -> bool:
        """Whether a model can learn from such labels: they are finite numbers, and they differ."""
        finite = np.isfinite((self.mean, self.mad)).all()
        return bool(finite and self.mad > 0 and self.smallest < self.largest and self.labels > 0)


def summarise(labels: Labels) -> dict[str, PropertyStatistics]:
    """Statistics of each property.

    Raises:
        DataError: a property without labels, or with only one value, from which nothing can be learnt.
    """
    return {name: _summary(name, values[~np.isnan(values)]) for name, values in labels.items()}


def _summary(name: str, known: NDArray[np.float64]) -> PropertyStatistics:
    if not len(known):
        raise DataError(f"no training molecule has a label of '{name}', so the model cannot be conditioned on it.")
    mean = float(known.mean())
    mad = float(np.abs(known - mean).mean())
    if known.min() == known.max():
        raise DataError(f"'{name}' is {known[0]:g} in all training molecules, so nothing can be learnt from it.")
    return PropertyStatistics(mean, mad, float(known.min()), float(known.max()), len(known))
