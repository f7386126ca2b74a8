"""A table of wishes, met from a common pool of molecules instead of by candidates for each.

What is far from one wish is near to another. So molecules are made for all wishes, and each wish gets the one that
serves the table best (wishes.py); further attempts go to the wishes that are still badly met, and all are matched anew.
Long tables are matched in parts, so that memory is bounded and time grows with their length.

Legend: R wishes.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.assignment import NOTHING as NO_MOLECULE
from ead_core.common.cpu import torch_threads
from ead_core.config.presets import PresetName
from ead_core.data.store import MoleculeSet
from ead_core.data.target_tables import read_wishes
from ead_core.data.targets import TargetError, Targets
from ead_core.data.wish_tables import WishTable
from ead_core.prediction.judge import Judge, load_judge
from ead_core.sampling.account import NOTHING, Delivery
from ead_core.sampling.choice import selector_of
from ead_core.sampling.conditions import check_sizes_seen
from ead_core.sampling.delivery import workshop
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.matches import Matches, Outcome, matches_of
from ead_core.sampling.order import MatchOrder, Order, Part
from ead_core.sampling.requests import Prepared, Request, prepare, sampler_config
from ead_core.sampling.unmet import unmet_wishes
from ead_core.sampling.wishes import Wishes, match_molecules

ROUNDS = 3  # in which the attempts after those of the pool are made
WRONG_ATOMS = "no accepted molecule has the atoms asked for"
TOO_FEW = "too few molecules were accepted"
STOPPED = "the run was stopped"
Progress = Callable[[int], None]


def match(  # noqa: PLR0913 (everything that a caller may ask for)
    checkpoint: Checkpoint,
    targets: Targets | Mapping[str, Sequence[object]] | str | Path,
    seed: int = 0,
    progress: Progress = lambda done: None,
    *,
    accept: str | Sequence[str] | None = None,
    pool: int | None = None,
    max_attempts: int | None = None,
    selector: str | Path | Judge | None = None,
    preset: PresetName | None = None,
    threads: int | None = 1,
    beyond_training: bool = False,
    **settings: object,
) -> Matches:
    """Meet a table of wishes from a common pool of molecules, each of which goes to one wish.

    For many targets at once it comes much nearer than as many candidates for each target alone.

    Args:
        checkpoint: from `load_checkpoint`.
        targets: a row per wish: columns by property of numbers, (low, high), or None where a wish is open; or the file
            of such a table (data/target_tables.py), whose rows may ask for several molecules and have names.
        seed: equal seeds give equal molecules.
        progress: receives the number of attempts since its last call.
        accept: what a molecule must be, "valid & unique" if nothing is said (evaluation/criteria.py).
        pool: attempts before molecules and wishes are matched for the first time; None stands for half of all.
        max_attempts: all attempts; None stands for four per wish. Those after the pool go to wishes that are badly met.
        selector: who predicts properties; None takes the bundled predictor that has learnt from the generator's half of
            the labels.
        preset, threads, beyond_training, settings: see `sample`.

    Raises:
        ConfigError: an unknown preset, setting or property, a value out of range, or no selector that may choose.
        DataError: the table cannot be read.
    """
    rows = Targets.of_columns(targets) if isinstance(targets, Mapping) else targets
    elements = checkpoint.statistics.atom_numbers
    table = WishTable(rows) if isinstance(rows, Targets) else read_wishes(Path(rows), elements)
    order = MatchOrder.of(accept, pool, max_attempts)
    chooser = load_judge(selector) if isinstance(selector, str | Path) else selector
    config = sampler_config(checkpoint, settings, preset)
    with torch_threads(1):
        wishes = table.wishes(range(table.total))
        prepared = prepare(checkpoint, Request(table.total, config, seed, targets=wishes, selector=chooser))
        if not beyond_training:
            check_sizes_seen(checkpoint, prepared.start.sizes)
        return match_wishes(checkpoint, prepared, order, progress, threads).by_row(table)


def match_wishes(
    checkpoint: Checkpoint,
    prepared: Prepared,
    order: MatchOrder,
    progress: Progress = lambda done: None,
    threads: int | None = 1,
) -> Matches:
    """Make molecules and match them with the rows of a request's targets.

    An interruption (Ctrl-C) matches what has been accepted until then.

    Args:
        checkpoint: the model.
        prepared: a request for a molecule for each row; its ids are those of the attempts, from `first`.
        order: what a molecule must be, and how many are made.
        progress, threads: see `match`.

    Raises:
        ConfigError: no targets, or no selector that may choose.
        DataError: the file of known molecules cannot be read.
    """
    matching = Matching(checkpoint, prepared.request, order)  # what is wrong is said before anything else
    with workshop(checkpoint, prepared, order.accept, threads) as shop:
        for each in matching.rounds():
            matching.add(shop.deliver(*each, progress))
    return matching.matches()


class Round(NamedTuple):
    """Attempts that a matching needs next.

    Attributes:
        request: for them.
        order: what is accepted of them.
        check: who says which of them are in the ranges asked for; None if that is no criterion.
    """

    request: Request
    order: Order
    check: RangeCheck | None


class Matching:
    """The matching of a table, whoever makes the attempts: `rounds` asks for them, `add` takes in what comes of each.

    Args:
        checkpoint: the model.
        request: whose targets are the wishes; the ids of the attempts begin at its `first`.
        order: what a molecule must be, and how many are made.

    Raises:
        ConfigError: no targets, or no selector that may choose.
    """

    def __init__(self, checkpoint: Checkpoint, request: Request, order: MatchOrder) -> None:
        if request.targets is None:
            raise TargetError("there are no wishes to be matched; give targets, a row for each.")
        self._start = time.perf_counter()
        self._table, self._order = request.targets, order
        self._selector = selector_of(checkpoint, self._table.names, request.selector)
        self._request = replace(request, selector=self._selector)
        self._ranged = RangeCheck.of(checkpoint, self._request, order.accept) is not None
        Wishes(self._table, self._selector)  # what is wrong with it is said before any attempt
        self._pool = _Pool(Wishes(self._table.select(()), self._selector))  # until the first part
        self._outcomes: list[Outcome] = []
        self._begun, self._stopped = 0, False

    def rounds(self) -> Iterator[Round]:
        """What to attempt, round after round; `add` must have had each before the next is asked for."""
        for part in self._order.parts(len(self._table.rows)):
            rows = range(part.first, part.first + part.wishes)
            self._pool = _Pool(Wishes(self._table.select(rows), self._selector))
            yield from self._rounds_of(part)
            self._outcomes.append(self._pool.outcome(STOPPED if self._stopped else TOO_FEW))

    def _rounds_of(self, part: Part) -> Iterator[Round]:
        """Those of consecutive wishes: a pool for all, then more for those that are badly met."""
        targets, left = self._pool.wishes.targets, part.attempts - part.pool
        yield from self._round(targets, part.pool)
        for number in range(ROUNDS):
            badly_met, count = self._pool.badly_met(), math.ceil(left / (ROUNDS - number))
            if len(badly_met):
                yield from self._round(targets.select(badly_met[:count]), count)
                left -= count

    def _round(self, targets: Targets, count: int) -> Iterator[Round]:
        """So many attempts for some wishes, unless there are none to be made."""
        if count == 0 or self._stopped:
            return
        request = replace(self._request, num=count, first=self._request.first + self._begun, targets=targets)
        self._begun += count
        check = RangeCheck(Wishes(targets, self._selector)) if self._ranged else None
        yield Round(request, Order(self._order.accept), check)

    def add(self, delivery: Delivery) -> None:
        """Take in what was accepted of a round, and match anew; after an interrupted one there are no more."""
        self._stopped = delivery.ledger.stopped
        self._pool.add(*delivery)

    def matches(self) -> Matches:
        """What became of the table, after the last round."""
        rows = len(self._table.rows)
        candidates = math.ceil(self._order.attempts(rows)[1] / rows)
        seconds = time.perf_counter() - self._start
        return matches_of(self._table, self._outcomes, self._selector, candidates, seconds)


@dataclass
class _Pool:
    """The molecules that have been accepted for some wishes [R], and which wish gets which."""

    wishes: Wishes
    molecules: MoleculeSet = NOTHING
    ledgers: list[Ledger] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._match()

    def add(self, molecules: MoleculeSet, ledger: Ledger) -> None:
        """Take in what has been accepted, and match anew."""
        self.ledgers.append(ledger)
        if len(molecules):
            self.molecules = MoleculeSet.concatenate([self.molecules, molecules]) if len(self.molecules) else molecules
            self._match()

    def _match(self) -> None:
        values = self.wishes.values_of(self.molecules)
        self._places, self._impossible = match_molecules(self.wishes, values, self.molecules)
        self._got, self._known = np.flatnonzero(self._places != NO_MOLECULE), values
        self._values = {name: column[self._places[self._got]] for name, column in values.items()}
        self._distances = np.full(len(self._places), np.inf)
        self._distances[self._got] = self.wishes.distances(self._got, self._values)

    def badly_met(self) -> NDArray[np.int64]:
        """Wishes that are farther from their molecules than the selector errs, the worst first."""
        order = np.argsort(-self._distances, kind="stable")
        return order[self._distances[order] > self.wishes.tolerances[order]]

    def outcome(self, why: str) -> Outcome:
        """Who gets what; `why` others get nothing, if not for the atoms they ask for."""
        reasons = np.where(self._impossible & (len(self.molecules) > 0), WRONG_ATOMS, why)
        unmet = list(unmet_wishes(self.wishes, self._known, self.molecules, self._places, reasons))
        return Outcome(
            self.molecules.select(self._places[self._got]),
            self._over_all(self.molecules.properties["id"][self._places[self._got]], NO_MOLECULE),
            np.where(self._places == NO_MOLECULE, reasons, ""),
            {name: self._over_all(self._values[name], np.nan) for name in self.wishes.predicted},
            self._over_all(self._distances[self._got], np.nan),
            unmet,
            self.ledgers,
        )

    def _over_all(self, values: NDArray, otherwise: float) -> NDArray:
        """Values of the wishes that got a molecule, as a column of all [R]."""
        column = np.full(len(self._places), otherwise)
        column[self._got] = values
        return column
