"""Wishes of a table that are not met, why, and the best that was found for them; and the account of its rows.

A wish is met by a molecule that has the atoms that it asks for and is predicted to be in all of its ranges; to a value
a molecule is just near. For each row, the molecules asked for are those met and those not met.

Legend: R wishes.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.identity import perceived_smiles
from ead_core.common.assignment import NOTHING as NO_MOLECULE
from ead_core.data.store import MoleculeSet
from ead_core.data.wish_tables import KEY, WishTable
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.wishes import Values, Wishes

BEST = "best_"  # before the name of what is told of the molecule that came nearest
OUTSIDE = "the molecule that came nearest is outside of a range"


class Unmet(NamedTuple):
    """A wish that is not met.

    Attributes:
        wish: its number.
        reason: why it is not met.
        id: of the accepted molecule that came nearest to it, be it its own or that of another wish; −1 for none.
        smiles: of that molecule; '' where its bonds cannot be perceived.
        distance: of that molecule from what is asked (matches.py); infinite for none.
        predicted: what the selector says of that molecule, by property.
    """

    wish: int
    reason: str
    id: int = NO_MOLECULE
    smiles: str = ""
    distance: float = math.inf
    predicted: Mapping[str, float] = {}


def unmet_wishes(
    wishes: Wishes, values: Values, molecules: MoleculeSet, places: NDArray[np.int64], reasons: NDArray[np.str_]
) -> Iterator[Unmet]:
    """The wishes that are not met, by number from 0.

    Args:
        wishes: R of them.
        values: what all accepted molecules have.
        molecules: these.
        places: [R] which of them each wish got, −1 for none.
        reasons: [R] why it got none.
    """
    without, got = np.flatnonzero(places == NO_MOLECULE), np.flatnonzero(places != NO_MOLECULE)
    if not len(molecules):
        yield from (Unmet(int(wish), str(reasons[wish])) for wish in without)
        return
    best = places.copy()
    best[without] = Wishes(wishes.targets.select(without), wishes.selector).nearest(values, molecules.num_atoms)
    missed = got[wishes.missed(got, {name: column[best[got]] for name, column in values.items()})]
    rows = np.sort(np.concatenate([without, missed]))
    told = {name: values[name][best[rows]] for name in wishes.predicted}
    found = molecules.select(best[rows])
    distances = wishes.distances(rows, {name: column[best[rows]] for name, column in values.items()})
    for place, (wish, smiles) in enumerate(zip(rows.tolist(), perceived_smiles(found), strict=True)):
        yield Unmet(
            wish,
            OUTSIDE if places[wish] != NO_MOLECULE else str(reasons[wish]),
            int(found.properties["id"][place]),
            smiles,
            float(distances[place]),
            {name: float(column[place]) for name, column in told.items()},
        )


def best_columns(not_met: Sequence[Unmet], count: int, predicted: Sequence[str]) -> dict[str, NDArray[Any]]:
    """What is told of the molecules that came nearest, as columns of all wishes [R]; open where a wish is met."""
    found = {each.wish - 1: each for each in not_met}
    met = Unmet(0, "", distance=math.nan)
    rows = [found.get(number, met) for number in range(count)]
    return {
        f"{BEST}id": np.array([row.id for row in rows], dtype=np.int64),
        f"{BEST}smiles": np.array([row.smiles for row in rows], dtype=str),
        f"{BEST}distance": np.array([row.distance for row in rows], dtype=np.float64),
        **{
            f"{BEST}{PREDICTED}{name}": np.array([row.predicted.get(name, math.nan) for row in rows], dtype=np.float64)
            for name in predicted
        },
    }


def unmet_of(
    met: NDArray[np.int64], wishes: NDArray[np.int64], reasons: NDArray[np.str_], columns: Mapping[str, NDArray[Any]]
) -> list[Unmet]:
    """The wishes that are not met, from the columns of a table of all [R].

    Args:
        met: [R] 1 where a wish is met, else 0.
        wishes: [R] their numbers.
        reasons: [R] why a wish got no molecule, '' if it got one.
        columns: with those of `best_columns`.
    """
    prefix = f"{BEST}{PREDICTED}"
    predicted = {name.removeprefix(prefix): name for name in columns if name.startswith(prefix)}
    return [
        Unmet(
            int(wishes[place]),
            str(reasons[place]) or OUTSIDE,
            int(columns[f"{BEST}id"][place]),
            str(columns[f"{BEST}smiles"][place]),
            float(columns[f"{BEST}distance"][place]),
            {name: float(columns[column][place]) for name, column in predicted.items()},
        )
        for place in np.flatnonzero(met == 0)
    ]


class RowAccount(NamedTuple):
    """What became of a row of a table: asked = met + unmet.

    Attributes:
        row: its number, from 1.
        key: what it is called; '' if rows have no names.
        asked: molecules that it asks for.
        unmet: how many of these are not met.
        best: the one of them to which a molecule came nearest, with the commonest reason.
    """

    row: int
    key: str
    asked: int
    unmet: int
    best: Unmet

    @property
    def met(self) -> int:
        """Molecules that are met."""
        return self.asked - self.unmet

    @property
    def told(self) -> str:
        """It in words."""
        name = f"row {self.row}" + f" ('{self.key}')" * bool(self.key)
        told = f"{name}: {self.met:,} of {self.asked:,} met, because {self.best.reason}"
        if self.best.id == NO_MOLECULE:
            return f"{told}; nothing was found"
        values = "".join(f", {name} {value:.5g}" for name, value in self.best.predicted.items())
        smiles = f" {self.best.smiles}" * bool(self.best.smiles)
        return f"{told}; best found: id {self.best.id}{smiles}{values}, distance {self.best.distance:.2g}"

    @property
    def cells(self) -> dict[str, Any]:
        """It as cells of a table, by column."""
        best = self.best
        found = best.id != NO_MOLECULE
        return {
            "row": self.row,
            **({KEY: self.key} if self.key else {}),
            "asked": self.asked,
            "met": self.met,
            "unmet": self.unmet,
            "reason": best.reason,
            f"{BEST}id": best.id if found else "",
            f"{BEST}smiles": best.smiles,
            f"{BEST}distance": f"{best.distance:.6g}" if found else "",
            **{f"{BEST}{PREDICTED}{name}": f"{value:.6g}" for name, value in best.predicted.items()},
        }


def row_accounts(not_met: Iterable[Unmet], table: WishTable) -> Iterator[RowAccount]:
    """The accounts of the rows that are not met in whole, from their wishes, numbered by row and in their order."""
    for row, group in itertools.groupby(not_met, lambda each: each.wish):
        each = list(group)
        reason = Counter(one.reason for one in each).most_common(1)[0][0]
        best = min(each, key=lambda one: one.distance)._replace(reason=reason)
        key = table.keys[row - 1] if table.keys else ""
        yield RowAccount(row, key, table.asked(row - 1), len(each), best)
