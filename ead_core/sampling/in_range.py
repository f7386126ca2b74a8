"""The criterion `in_range`: whether molecules are predicted to be in the ranges asked for, and how many are in truth.

A selector predicts (choice.py); atoms are counted. How many molecules lie in their ranges in truth is an estimate with
an interval (prediction/in_truth.py), since the selector errs, and since whatever is chosen by it favours its errors.

Legend: M molecules.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import CRITERIA, IN_RANGE, Acceptance
from ead_core.prediction.in_truth import Range, share_in_truth, widening
from ead_core.prediction.judge import Judge, predict
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.choice import SELECTED_BY, independent_judge, selector_of
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.requests import Request
from ead_core.sampling.wishes import Wishes

DISAGREEMENT = "disagreement_"  # before the name of a property: how far the judge's prediction is from the selector's
Parts = Callable[[], Iterable[MoleculeSet]]  # molecules, some at a time, as often as they are asked for


@dataclass(frozen=True)
class RangeCheck:
    """What the criterion says of the molecules of one request.

    Attributes:
        wishes: the ranges; the molecule with id i has those of row i mod R.
    """

    wishes: Wishes

    @classmethod
    def of(cls, checkpoint: Checkpoint, request: Request, accept: Acceptance) -> "RangeCheck | None":
        """The check for a request; None if the criterion is not asked for.

        Raises:
            ConfigError: no ranges, or no selector that may choose.
        """
        if IN_RANGE not in accept.limits:
            return None
        if request.targets is None or not request.targets.limited.any():
            raise ConfigError(f"the criterion {IN_RANGE} needs a range among the targets, e.g. gap=6000:7000.")
        selector = selector_of(checkpoint, request.targets.names, request.selector)
        return cls(Wishes(request.targets, selector))

    def refuse(self, molecules: MoleculeSet, found: Sequence[Verdict]) -> tuple[MoleculeSet, list[Verdict]]:
        """Molecules with what is predicted of them, and their verdicts; outside of a range nobody is accepted."""
        good = np.flatnonzero([not verdict.refusal for verdict in found])
        values = self.wishes.values_of(molecules.select(good))
        columns: dict[str, NDArray[Any]] = {}
        for name in self.wishes.predicted:
            columns[f"{PREDICTED}{name}"] = np.full(len(molecules), np.nan)
            columns[f"{PREDICTED}{name}"][good] = values[name]
        if self.wishes.selector:
            columns[SELECTED_BY] = np.full(len(molecules), self.wishes.selector.fingerprint)
        missed = good[self.wishes.missed(self._rows(molecules)[good], values)]
        standing = list(found)
        for place in missed.tolist():
            standing[place] = Verdict(CRITERIA[IN_RANGE].refusal, found[place].inchikey)
        return replace(molecules, properties={**molecules.properties, **columns}), standing

    @cached_property
    def judge(self) -> Judge | None:
        """Who tells how much the selector errs on generated molecules, by disagreeing with it; None if nobody can."""
        selector, names = self.wishes.selector, self._names
        return independent_judge(selector, names) if selector and names else None

    def compared(self, molecules: MoleculeSet) -> MoleculeSet:
        """Molecules with how far the judge's predictions are from the selector's, if there is a judge."""
        if self.judge is None or not len(molecules):
            return molecules
        found = predict(self.judge.predictor, self.judge.config, self.judge.statistics, molecules)
        chosen = {name: molecules.properties[f"{PREDICTED}{name}"] for name in self._names}
        apart = {f"{DISAGREEMENT}{name}": np.abs(found[name] - values) for name, values in chosen.items()}
        return replace(molecules, properties={**molecules.properties, **apart})

    def told(self, ledger: Ledger, delivered: MoleculeSet) -> Ledger:
        """The ledger of what has been delivered, with how many of these are in range in truth."""
        compared = self.compared(delivered)
        return self.told_of_parts(ledger, lambda: [compared])

    def told_of_parts(self, ledger: Ledger, delivered: Parts) -> Ledger:
        """The same of any number of molecules that have been `compared`."""
        assert ledger.in_range is not None  # since it is a criterion
        truth = self._truth(ledger.delivered, delivered)
        return ledger.model_copy(update={"in_range": ledger.in_range.model_copy(update=truth)})

    def _truth(self, count: int, delivered: Parts) -> dict[str, Any]:
        """What is known of the delivered molecules in truth, as fields of `InRange`."""
        selector, names = self.wishes.selector, self._names
        if selector is None or not names or not count:  # whatever is asked for is counted
            return {"in_truth": count, "interval": (count, count)}
        if not all(selector.calibration[name].predicted for name in names):
            return {}
        wider = widening(selector, self.judge, self._apart(count, delivered)) if self.judge else None
        factors = wider or dict.fromkeys(names, 1.0)
        parts = ([self._range(name, part, factors[name]) for name in names] for part in delivered())
        estimate, (low, high) = share_in_truth(parts)
        return {"in_truth": count * estimate, "interval": (count * low, count * high), "widening": wider}

    def _apart(self, count: int, delivered: Parts) -> dict[str, float]:
        """How far the predictions of selector and judge are from each other, by property, on average."""
        far = dict.fromkeys(self._names, 0.0)
        for part in delivered():
            for name in far:
                far[name] += float(part.properties[f"{DISAGREEMENT}{name}"].sum())
        return {name: total / count for name, total in far.items()}

    def _range(self, name: str, molecules: MoleculeSet, wider: float) -> Range:
        targets, rows = self.wishes.targets, self._rows(molecules)
        place = targets.names.index(name)
        low, high = (np.where(targets.limited, ends, np.nan)[rows, place] for ends in targets.arrays)
        assert self.wishes.selector is not None  # since it has predicted
        errors = self.wishes.selector.calibration[name]
        return Range(np.asarray(molecules.properties[f"{PREDICTED}{name}"]), low, high, errors, wider)

    @property
    def _names(self) -> list[str]:
        """Predicted properties of which some row names a range."""
        targets = self.wishes.targets
        return [name for name in self.wishes.predicted if targets.limited[:, targets.names.index(name)].any()]

    def _rows(self, molecules: MoleculeSet) -> NDArray[np.int64]:
        return np.asarray(molecules.properties["id"], dtype=np.int64) % len(self.wishes.targets.rows)
