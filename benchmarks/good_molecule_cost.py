"""What good_molecule.py compares, and its arithmetic: from CPU seconds of calls and judging to those of a molecule."""

from collections.abc import Mapping
from typing import NamedTuple

GOOD, STABLE = "valid & plausible & unique", "stable"
# Of EDM's attempts, as published for QM9 with hydrogens (Hoogeboom et al., ICML 2022): valid and unique, and stable.
PUBLISHED = {GOOD: 0.907, STABLE: 0.82}
NOVELTY = 0.58  # of EDM's valid and unique molecules, as later papers quote it
CALLS = 1001  # of EDM, decoding included


class Row(NamedTuple):
    """What is delivered.

    Attributes:
        title: for people.
        checkpoint: which makes it.
        accept: what a molecule must be.
        own_settings: whether the checkpoint's own sampler settings make it.
    """

    title: str
    checkpoint: str
    accept: str
    own_settings: bool = False


ROWS = {
    "good": Row("good molecules, qm9-deep", "qm9-deep", GOOD),
    "stable": Row("stable molecules, qm9-deep", "qm9-deep", STABLE),
    "small": Row("good molecules, qm9-small", "qm9-small", GOOD),
    "own": Row("good molecules, qm9-deep by its own settings", "qm9-deep", GOOD, own_settings=True),
}


class Cost(NamedTuple):
    """What an attempt costs, and how many attempts are accepted.

    Attributes:
        call: CPU seconds of a network call of one molecule, with all that belongs to it.
        calls: network calls.
        judging: CPU seconds.
        accepted: share of the attempts.
    """

    call: float
    calls: float
    judging: float
    accepted: float

    @property
    def seconds(self) -> float:
        """CPU seconds per accepted molecule."""
        return (self.calls * self.call + self.judging) / self.accepted


def factors(theirs: Cost, ours: Cost, same_network: float) -> dict[str, float]:
    """What the ratio of the seconds is the product of.

    Args:
        theirs: of EDM, without judging.
        ours: of a row.
        same_network: CPU seconds of a call of EDM's network in our way of computing.
    """
    making = ours.calls * ours.call
    return {
        "fewer network calls": theirs.calls / ours.calls,
        "way of computing": theirs.call / same_network,
        "another network": same_network / ours.call,
        "share that is accepted": ours.accepted / theirs.accepted,
        "judging": making / (making + ours.judging),
    }


class Turn(NamedTuple):
    """A round.

    Attributes:
        reference: CPU seconds of a call of EDM's network, of one molecule, in EDM's way of computing.
        same_network: in ours.
        ours: costs by row.
    """

    reference: float
    same_network: float
    ours: Mapping[str, Cost]

    def theirs(self, row: str, novelty: float = 1.0) -> Cost:
        """What EDM's way costs for what a row delivers, if such a share of its molecules is new."""
        return Cost(self.reference, CALLS, 0.0, novelty * PUBLISHED[ROWS[row].accept])

    def ratio(self, row: str, novelty: float = 1.0) -> float:
        """How many times as much EDM's way costs."""
        return self.theirs(row, novelty).seconds / self.ours[row].seconds

    def factors(self, row: str) -> dict[str, float]:
        """What this ratio is the product of."""
        return factors(self.theirs(row), self.ours[row], self.same_network)
