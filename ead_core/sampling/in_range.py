"""The criterion `in_range`: whether molecules are predicted to be in the ranges asked for, and how many are in truth.

A selector predicts (choice.py); atoms are counted. How many molecules lie in their ranges in truth is an estimate with
an interval (prediction/in_truth.py), since the selector errs, and since whatever is chosen by it favours its errors.

Legend: M molecules.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import CRITERIA, IN_RANGE, Acceptance
from ead_core.prediction.in_truth import Range, share_in_truth, widening
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.choice import SELECTED_BY, independent_judge, selector_of
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.requests import Request
from ead_core.sampling.wishes import Wishes


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

    def told(self, ledger: Ledger, delivered: MoleculeSet) -> Ledger:
        """The ledger of what has been delivered, with how many of these are in range in truth."""
        assert ledger.in_range is not None  # since it is a criterion
        return ledger.model_copy(update={"in_range": ledger.in_range.model_copy(update=self._truth(delivered))})

    def _truth(self, molecules: MoleculeSet) -> dict[str, Any]:
        """What is known of the delivered molecules in truth, as fields of `InRange`."""
        selector, names, count = self.wishes.selector, self._names, len(molecules)
        if selector is None or not names or not count:  # whatever is asked for is counted
            return {"in_truth": count, "interval": (count, count)}
        if not all(selector.calibration[name].predicted for name in names):
            return {}
        judge = independent_judge(selector, names)
        wider = widening(selector, judge, molecules, names) if judge else None
        share = share_in_truth([self._range(name, molecules, (wider or {}).get(name, 1.0)) for name in names])
        low, high = share.interval
        return {"in_truth": count * share.estimate, "interval": (count * low, count * high), "widening": wider}

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
