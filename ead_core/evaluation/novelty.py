"""Criteria that compare a molecule with others: those of a file, and those that were delivered before."""

import sqlite3
from pathlib import Path

from ead_core.evaluation.criteria import CRITERIA, NOVEL, UNIQUE, Acceptance


class Novelty:
    """What `novel` and `unique` say of molecules that are otherwise accepted, one after the other.

    The InChIKeys of those delivered are in a database of SQLite's own, which goes to disk when it grows.

    Args:
        accept: what a delivered molecule must be.
        workers: processes that read the molecules of `novel`; None for all cores.

    Raises:
        DataError: their file cannot be read.
    """

    def __init__(self, accept: Acceptance, workers: int | None = 1) -> None:
        self._names = accept.limits.keys() & {NOVEL, UNIQUE}
        self._known = _keys_of(accept.known, workers) if accept.known else frozenset()
        self._delivered = sqlite3.connect("")  # a temporary file, which ends with the connection
        self._delivered.execute("create table delivered (inchikey text primary key) without rowid")

    @property
    def compares(self) -> bool:
        """Whether there is anything to say."""
        return bool(self._names)

    def refusal(self, inchikey: str | None) -> str:
        """Why a molecule is refused for what others are; '' if it is not, and then it counts as delivered."""
        if NOVEL in self._names and (inchikey is None or inchikey in self._known):
            return CRITERIA[NOVEL].refusal
        if UNIQUE in self._names and (inchikey is None or not self._add(inchikey)):
            return CRITERIA[UNIQUE].refusal
        return ""

    def _add(self, inchikey: str) -> bool:
        """Whether the key is new; it is kept."""
        return self._delivered.execute("insert or ignore into delivered values (?)", (inchikey,)).rowcount == 1


def _keys_of(path: Path, workers: int | None) -> frozenset[str]:
    from ead_core.evaluation.reference import known_inchikeys  # takes pyarrow, which no other delivery needs

    return known_inchikeys(path, workers)
