"""How well molecules meet the wishes of a table, and which molecule each wish gets.

A wish is met only by a molecule that has the numbers of atoms asked for, in all and of each element. Among these, as
many ranges as possible are met, and then the distance from what is asked is the least that there is, on average.

Legend: R wishes, M molecules, P properties asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.common.assignment import NOTHING as NO_MOLECULE
from ead_core.common.assignment import assign
from ead_core.data.labels import PropertyStatistics
from ead_core.data.properties import count_atoms, counted_element
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError, Targets
from ead_core.prediction.judge import Judge, predict

MISSED = 1e4  # a range missed, in spreads: more than nearness can make up for among the wishes of a part
WITHOUT = 1e9  # a wish without a molecule: more than all of their ranges
Values = Mapping[str, NDArray[np.float64]]  # [M] by property


@dataclass(frozen=True)
class Wishes:
    """A table of wishes, and who says what molecules have.

    Attributes:
        targets: R rows.
        selector: predicts what cannot be counted; None if everything can.

    Raises:
        TargetError: a property that can be neither counted nor predicted.
    """

    targets: Targets
    selector: Judge | None

    def __post_init__(self) -> None:
        for name in self.predicted:
            if name not in self._known:
                known = (
                    f"{self.selector.name} predicts {', '.join(self._known)}" if self.selector else "nobody predicts"
                )
                raise TargetError(f"{known}, so that wishes for {name} cannot be matched.", name)

    @property
    def predicted(self) -> list[str]:
        """Properties asked for that are predicted; the others are counted."""
        return [name for name in self.targets.names if counted_element(name) is None]

    @property
    def _known(self) -> Mapping[str, PropertyStatistics]:
        return self.selector.statistics.properties if self.selector else {}

    def values_of(self, molecules: MoleculeSet) -> Values:
        """What molecules have of the properties asked for."""
        found = {name: np.zeros(0) for name in self.predicted}
        if self.selector and self.predicted and len(molecules):
            own = self.selector
            found = predict(own.predictor, own.config, own.statistics, molecules)
        numbers = {name: counted_element(name) for name in self.targets.names}
        return {name: count_atoms(molecules, n) if n else found[name] for name, n in numbers.items()}

    def costs(self, values: Values, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        """What it costs [R, M] to give each wish each molecule; infinite where the atoms are wrong."""
        wrong, far = self._apart(values, sizes)
        return np.where(wrong > 0, np.inf, far)

    def nearest(self, values: Values, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The molecule that comes nearest to each wish [R]: fewest wrong atoms first, then as for `costs`."""
        wrong, far = self._apart(values, sizes)
        return np.argmin(WITHOUT * wrong + far, axis=1)

    def _apart(self, values: Values, sizes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Atoms too many or too few, and what it costs beside them, for each wish and each molecule [R, M]."""
        fixed = self.targets.fixed_sizes[:, None]
        wrong = np.where(fixed > 0, np.abs(fixed - sizes), 0).astype(np.float64)
        far = np.zeros_like(wrong)
        for name, low, high, weight in self._asked:
            off = outside(low[:, None], high[:, None], values[name])
            if weight is None:
                wrong += off
            else:
                far += off * weight[:, None] + MISSED * ((off > 0) & (low < high)[:, None])
        return wrong, far

    def distances(self, rows: NDArray[np.int64], values: Values) -> NDArray[np.float64]:
        """How far molecules are from some wishes, a molecule for each: the mean over what is predicted, in spreads."""
        distances = np.zeros(len(rows))
        for name, low, high, weight in self._asked:
            if weight is not None:
                distances += outside(low[rows], high[rows], values[name]) * weight[rows]
        return distances

    def missed(self, rows: NDArray[np.int64], values: Values) -> NDArray[np.bool_]:
        """Whether molecules, one for each of some wishes, are outside of a range or have other atoms than asked for."""
        missed = np.zeros(len(rows), dtype=bool)
        for place, (name, low, high, _) in enumerate(self._asked):
            off = outside(low[rows], high[rows], values[name]) > 0
            missed |= off & self.targets.limited[rows, place]
        return missed

    @cached_property
    def tolerances(self) -> NDArray[np.float64]:
        """The distances [R] below which nothing is told more finely: the selector's own error."""
        tolerances = np.zeros(len(self.targets.rows))
        for name, _, _, weight in self._asked:
            if weight is not None and self.selector:
                tolerances += self.selector.calibration[name].bound * weight
        return tolerances

    @cached_property
    def _asked(self) -> list["_Asked"]:
        low, high = self.targets.arrays
        count = (~np.isnan(low) & ~self.targets.counted()).sum(axis=1).clip(1)
        weights = {
            name: ~np.isnan(low[:, place]) / (count * self._known[name].mad)
            for place, name in enumerate(self.targets.names)
            if name in self.predicted
        }
        columns = zip(self.targets.names, low.T, high.T, strict=True)
        return [_Asked(name, lows, highs, weights.get(name)) for name, lows, highs in columns]


class _Asked(NamedTuple):
    """A property of all wishes: its ends [R], and what a unit of it adds to the distance [R], None if it is counted."""

    name: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weight: NDArray[np.float64] | None


def outside(low: NDArray[np.float64], high: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much values lie outside of ranges: 0 inside and where a range is open, infinite for what is no number."""
    off = np.fmax(0.0, np.fmax(low - values, values - high))
    return np.where(np.isnan(values) & ~np.isnan(low), np.inf, off)


def match_molecules(
    wishes: Wishes, values: Values, molecules: MoleculeSet
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place of each wish's molecule [R], −1 for none, and which wishes no molecule could meet [R].

    It does not depend on the order of the molecules, which are looked at in that of their ids.
    """
    order = np.argsort(molecules.properties["id"])
    costs = wishes.costs({name: column[order] for name, column in values.items()}, molecules.num_atoms[order])
    return np.append(order, NO_MOLECULE)[assign(costs, WITHOUT)], np.logical_and.reduce(np.isinf(costs), axis=1)
