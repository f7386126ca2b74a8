"""What became of a table of wishes: the molecules that met them, a row for each wish, and the ledger.

Legend: R wishes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.common.assignment import NOTHING as NO_MOLECULE
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.data.wish_tables import KEY, WishTable
from ead_core.prediction.judge import Judge
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.account import REPAIRED
from ead_core.sampling.choice import BEST_OF, SELECTED_BY
from ead_core.sampling.conditions import TARGET
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.unmet import Unmet, best_columns, unmet_of
from ead_core.sampling.wishes import Values

WISH, DISTANCE, REASON = "wish", "distance", "reason"  # columns
MET = "met"  # column: 1 where a molecule is in all ranges of its wish, else 0
MADE_FOR = "made_for_"  # before the name of a property: what the attempt was asked for, perhaps by another wish
SPARE = "matched with no wish"  # what becomes of accepted molecules that are not delivered
Table = Mapping[str, NDArray[Any]]  # [R] by column


class Matches(NamedTuple):
    """What became of a table of wishes.

    Attributes:
        molecules: of the wishes that got one, in the order of the table. Their properties: `wish` (its row, from 1),
            `key` (what the row is called, if rows have names), `met` (1 if it is in all ranges of its wish, else 0),
            what it asks for (`target_gap`; if some wish names a range, `target_gap_low` and `target_gap_high`), what
            the selector predicts (`predicted_gap`), and `distance`: by how much that misses what is asked, in spreads
            of the property (its mean absolute deviation in training), as a mean over the properties asked for. What
            its attempt was asked for, perhaps by another wish, is `made_for_gap`.
        wishes: a row for each wish with the same columns, the `id` of its molecule, −1 for none, and the `reason` why
            there is none. Where a wish is not met, `best_…` tell of the accepted molecule that came nearest to it.
        ledger: what became of all attempts.
    """

    molecules: MoleculeSet
    wishes: Table
    ledger: Ledger

    @property
    def unmet(self) -> dict[int, str]:
        """Why there is no molecule, by wish, for those that got none."""
        numbers, reasons = self.wishes[WISH].tolist(), self.wishes[REASON].tolist()
        return {number: reason for number, reason in zip(numbers, reasons, strict=True) if reason}

    @property
    def not_met(self) -> list[Unmet]:
        """Those without a molecule, and those whose molecule misses a range, with the best that was found."""
        return unmet_of(self.wishes[MET], self.wishes[WISH], self.wishes[REASON], self.wishes)

    def by_row(self, table: WishTable, first: int = 0) -> "Matches":
        """The same with `wish` as the row of a table, each of which may have several wishes, and with its `key`.

        Args:
            table: whose wishes these are, from the number `first` on.
        """
        numbers = first + np.arange(len(self.wishes[WISH]))
        rows = table.rows_of(numbers)
        told = {**self.wishes, WISH: 1 + rows}
        own = rows[self.molecules.properties[WISH] - 1]
        molecules = replace(self.molecules, properties={**self.molecules.properties, WISH: 1 + own})
        if table.keys:
            told = {WISH: told[WISH], KEY: table.keys_of(rows), **told}
        return Matches(table.named(molecules, own), told, self.ledger)


class Outcome(NamedTuple):
    """What became of some wishes [R].

    Attributes:
        chosen: the molecules of those that got one.
        ids: [R] of these, −1 for none.
        reasons: [R] why there is none, '' if there is one.
        predicted: what the selector says of them, [R] by property, NaN for none.
        distances: [R], NaN for none.
        unmet: those that are not met.
        ledgers: of the deliveries that made the molecules.
    """

    chosen: MoleculeSet
    ids: NDArray[np.int64]
    reasons: NDArray[np.str_]
    predicted: Values
    distances: NDArray[np.float64]
    unmet: Sequence[Unmet]
    ledgers: Sequence[Ledger]


def matches_of(
    targets: Targets, outcomes: Sequence[Outcome], selector: Judge | None, candidates: int, seconds: float
) -> Matches:
    """Everything about a table, from what became of its parts.

    Args:
        targets: the table.
        outcomes: of its parts, in their order.
        selector: who predicted; None if atoms were counted.
        candidates: attempts for each wish, which a matched molecule is the best of.
        seconds: wall clock in all.
    """
    ids = np.concatenate([outcome.ids for outcome in outcomes])
    not_met, met = _numbered(outcomes), np.ones(len(ids), dtype=np.int64)
    met[[each.wish - 1 for each in not_met]] = 0
    told: Table = {
        WISH: 1 + np.arange(len(ids)),
        **_asked(targets),
        **{
            f"{PREDICTED}{name}": np.concatenate([outcome.predicted[name] for outcome in outcomes])
            for name in outcomes[0].predicted
        },
        DISTANCE: np.concatenate([outcome.distances for outcome in outcomes]),
        MET: met,
    }
    chosen = MoleculeSet.concatenate([outcome.chosen for outcome in outcomes])
    got = ids != NO_MOLECULE
    own = {
        name.replace(TARGET, MADE_FOR, 1) if name.startswith(TARGET) else name: values
        for name, values in chosen.properties.items()
        if name != "warning"
    }
    selected: dict[str, NDArray[Any]] = {BEST_OF: candidates * np.asarray(own.get(BEST_OF, np.ones(len(chosen), int)))}
    if selector:
        selected[SELECTED_BY] = np.full(len(chosen), selector.fingerprint)
    molecules = replace(chosen, properties={**own, **{name: values[got] for name, values in told.items()}, **selected})
    reasons = np.concatenate([outcome.reasons for outcome in outcomes])
    ledgers = [ledger for outcome in outcomes for ledger in outcome.ledgers]
    wishes = {**told, "id": ids, REASON: reasons, **best_columns(not_met, len(ids), list(outcomes[0].predicted))}
    return Matches(molecules, wishes, _ledger(ledgers, met, molecules, seconds))


def _numbered(outcomes: Sequence[Outcome]) -> list[Unmet]:
    """The wishes of all parts that are not met, numbered through the table from 1."""
    firsts = np.cumsum([0, *(len(outcome.ids) for outcome in outcomes)]).tolist()
    return [
        each._replace(wish=1 + first + each.wish)
        for first, outcome in zip(firsts, outcomes, strict=False)
        for each in outcome.unmet
    ]


def _asked(targets: Targets) -> Table:
    """What each wish asks for: a value, or both ends for properties of which some wish names a range; NaN is open."""
    columns: dict[str, NDArray[Any]] = {}
    for name, low, high in zip(targets.names, *(ends.T for ends in targets.arrays), strict=True):
        if (low < high).any():
            columns |= {f"{TARGET}{name}_low": low, f"{TARGET}{name}_high": high}
        else:
            columns[f"{TARGET}{name}"] = low
    return columns


def _ledger(ledgers: Sequence[Ledger], met: NDArray[np.int64], molecules: MoleculeSet, seconds: float) -> Ledger:
    """The sum of several, where accepted molecules that no wish got count as refused."""
    refused = sum((Counter(ledger.refused) for ledger in ledgers), Counter[str]())
    refused[SPARE] = sum(ledger.delivered for ledger in ledgers) - len(molecules)
    return Ledger(
        accept=ledgers[0].accept,
        asked=len(met),
        met=int(met.sum()),
        attempts=sum(ledger.attempts for ledger in ledgers),
        delivered=len(molecules),
        repaired=int((np.asarray(molecules.properties.get(REPAIRED, ())) > 0).sum()),
        refused={reason: count for reason, count in refused.most_common() if count},
        calls=sum(ledger.calls for ledger in ledgers),
        surplus=sum(ledger.surplus for ledger in ledgers),
        surplus_calls=sum(ledger.surplus_calls for ledger in ledgers),
        seconds=seconds,
        stopped=any(ledger.stopped for ledger in ledgers),
    )
