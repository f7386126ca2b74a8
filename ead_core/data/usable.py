"""Which of the molecules that a model has made mean anything, and what is wrong with the others."""

from collections import Counter
from collections.abc import Mapping

from ead_core.data.records import Named, screen
from ead_core.data.store import MoleculeSet


def usable(molecules: MoleculeSet) -> tuple[MoleculeSet, Counter[str]]:
    """The molecules that every reader takes, and how many are left out, by reason.

    A network with damaged weights makes coordinates that are no numbers; they must not pass for results.
    """
    report = screen(Named([""] * len(molecules), molecules))
    return report.molecules, Counter(skipped.reason.rstrip(".") for skipped in report.skipped)


def described(faults: Mapping[str, int]) -> str:
    """`3 of them: a coordinate is not a finite number`, and so on for each reason."""
    return "; ".join(f"{count} of them: {reason}" for reason, count in faults.items())


told = described  # its name in the files of models registered before
