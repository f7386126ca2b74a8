"""Who judges molecules in a process of its own, one set after the other."""

import functools
import weakref

from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import Verdict, judge, verdicts, whole
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.isolated_workers import IsolatedPool


class Jury:
    """A process that judges molecules; it starts with the first of them and ends with the jury."""

    def __init__(self) -> None:
        self._pool = IsolatedPool[None, list[Verdict]](functools.partial(judge, acceptance=Acceptance()), 1)
        weakref.finalize(self, self._pool.__exit__)

    def verdicts(self, molecules: MoleculeSet, acceptance: Acceptance) -> list[Verdict]:
        """The verdict on each molecule."""
        self._pool.submit(None, whole(molecules), functools.partial(judge, acceptance=acceptance))
        return verdicts(self._pool.take()[1])
