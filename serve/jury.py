"""Molecules are judged in a process of their own, while the engine goes on with those of others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ead_core.data.store import MoleculeSet
from ead_core.evaluation import jury
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance


class Jury:
    """Who judges the molecules of deliveries, one set after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)  # the one that waits for the process
        self._jury = jury.Jury()

    async def verdicts(self, molecules: MoleculeSet, acceptance: Acceptance) -> list[Verdict]:
        """The verdict on each molecule."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._jury.verdicts, molecules, acceptance)
