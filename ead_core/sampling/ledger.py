"""What became of every attempt of a delivery, so that what was delivered can be judged as the selection that it is."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ead_core.common.documents import Document


class Ledger(Document):
    """What was asked for, what was attempted, and what became of it: attempts = delivered + all refused.

    Attributes:
        accept: what a delivered molecule had to be.
        asked: how many were to be delivered; None if a number of attempts was asked for.
        attempts: molecules made, up to the last that was needed.
        delivered: of these.
        repaired: of the delivered, those that were refused at first and mended (repairs.py); None if nobody counted.
        refused: the others, by reason.
        calls: network calls of the attempts.
        surplus: molecules made beyond the attempts, because several are made at once.
        surplus_calls: their network calls.
        seconds: wall clock in all.
        stopped: whether the run was interrupted before it was done.
    """

    kind: ClassVar[str] = "a ledger of deliveries"

    version: Literal[1] = Field(1, alias="schema_version")
    accept: str
    asked: int | None
    attempts: int
    delivered: int
    repaired: int | None = None
    refused: Mapping[str, int]
    calls: int
    surplus: int
    surplus_calls: int
    seconds: float
    stopped: bool

    @property
    def short(self) -> bool:
        """Whether fewer were delivered than asked for."""
        return self.asked is not None and self.delivered < self.asked

    @property
    def shortage(self) -> str:
        """A sentence for when it is `short`."""
        limit = f"{self.attempts:,} attempts" if self.attempts > 1 else "1 attempt"
        return f"only {self.delivered:,} of {self.asked:,} molecules were accepted in {limit}."

    @property
    def sentence(self) -> str:
        """What became of the attempts, in words."""
        refused = ", ".join(f"{count:,} {reason}" for reason, count in self.refused.items())
        calls = (self.calls + self.surplus_calls) / max(1, self.delivered)
        return (
            f"{self.attempts:,} attempts: {self.delivered:,} delivered"
            + (f", {self.repaired:,} of them repaired" if self.repaired else "")
            + (f"; refused: {refused}" if refused else "")
            + (f"; {self.surplus:,} made ahead and not needed" if self.surplus else "")
            + f"; {calls:.0f} network calls per delivered molecule"
        )
