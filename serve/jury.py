"""Molecules are judged in a process of their own, while the engine goes on with those of others."""

import asyncio
import functools
import weakref
from concurrent.futures import ThreadPoolExecutor

from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import Verdict, judge, verdicts, whole
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.isolated_workers import IsolatedPool


class Jury:
    """Who judges the molecules of deliveries, one lot after the other; its process starts with the first."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)  # the one that waits for the process
        self._pool = IsolatedPool[None, list[Verdict]](functools.partial(judge, acceptance=Acceptance()), 1)
        weakref.finalize(self, self._pool.__exit__)  # the process ends with whom it works for

    async def verdicts(self, molecules: MoleculeSet, acceptance: Acceptance) -> list[Verdict]:
        """The verdict on each molecule."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._judge, molecules, acceptance)

    def _judge(self, molecules: MoleculeSet, acceptance: Acceptance) -> list[Verdict]:
        self._pool.submit(None, whole(molecules), functools.partial(judge, acceptance=acceptance))
        return verdicts(self._pool.take()[1])
