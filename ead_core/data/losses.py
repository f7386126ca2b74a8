"""What reading leaves out, summed up over all parts of a source and reported in sentences."""

import re
from collections.abc import Iterable
from dataclasses import replace

from ead_core.data.misfits import Misfit
from ead_core.data.records import ReadReport, Skipped
from ead_core.notes import note_all

MOST = 20  # kinds of loss that are reported one by one
_SPECIFIC = re.compile(r"'[^']*'|\([^()]*\)|[0-9][0-9.,]*")  # what differs between records with the same fault


class Losses:
    """Skipped records by reason, and values that did not fit into their columns.

    Args:
        reports: of the parts of a source; see `add`.
    """

    def __init__(self, reports: Iterable[ReadReport] = ()) -> None:
        self.records = 0
        self._skipped: dict[str, tuple[int, Skipped]] = {}
        self._misfits: dict[tuple[str, str], Misfit] = {}
        for report in reports:
            self.add(report)

    def add(self, report: ReadReport) -> None:
        """Count what a part has lost."""
        self.records += len(report.molecules) + report.excluded + len(report.skipped)
        for skipped in report.skipped:
            kind = _SPECIFIC.sub("…", skipped.reason)
            count, first = self._skipped.get(kind, (0, skipped))
            self._skipped[kind] = count + 1, first
        for misfit in report.misfits:
            key = misfit.column, misfit.reason
            before = self._misfits.get(key)
            self._misfits[key] = replace(before, count=before.count + misfit.count) if before else misfit

    @property
    def skipped(self) -> int:
        """How many records are left out because something is wrong with them."""
        return sum(count for count, _ in self._skipped.values())

    def kinds(self) -> list[str]:
        """A line for every reason why records were skipped, the most frequent first."""
        found = sorted(self._skipped.items(), key=lambda item: -item[1][0])
        return _at_most([f"{count:,} × {kind}" for kind, (count, _) in found], "reasons")

    def sentences(self) -> list[str]:
        """Everything: one about each reason and one about each column."""
        found = sorted(self._skipped.values(), key=lambda item: -item[0])
        skipped = [
            f"{count:,} of {self.records:,} records skipped: {first.reason.rstrip('.')} ({first.name}{_others(count)})."
            for count, first in found
        ]
        return _at_most(skipped, "reasons") + self.misfits()

    def misfits(self) -> list[str]:
        """About each column with values that did not fit."""
        return _at_most([misfit.sentence for misfit in self._misfits.values()], "columns")

    def tell(self) -> None:
        """Show all of it to the user, as notes."""
        note_all(self.sentences())


def _others(count: int) -> str:
    return " is the first" if count > 1 else ""


def _at_most(lines: list[str], kind: str) -> list[str]:
    more = len(lines) - MOST
    return lines if more <= 0 else [*lines[:MOST], f"… and {more:,} more {kind}."]
