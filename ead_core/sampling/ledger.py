"""What became of every attempt of a delivery, so that what was delivered can be judged as the selection that it is."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ead_core.common.documents import Document
from ead_core.evaluation.criteria import CRITERIA, IN_RANGE, NOVEL, UNIQUE


class InRange(BaseModel):
    """How many molecules are where the ranges of the targets want them (in_range.py).

    Attributes:
        valid: attempts that met all criteria before this one.
        predicted: of these, those that the selector predicts to be in their ranges.
        in_truth: how many of the delivered molecules are estimated to be there; None if that is not known.
        interval: 95 % of that number.
        widening: by how much the selector's errors are taken to be larger than on held-out molecules, by property,
            since it was measured or since it disagrees so much more with an independent predictor; None without one.
    """

    model_config = ConfigDict(frozen=True)

    valid: int
    predicted: int
    in_truth: float | None = None
    interval: tuple[float, float] | None = None
    widening: Mapping[str, float] | None = None

    @classmethod
    def counted(cls, accept: str, delivered: int, refused: Mapping[str, int]) -> Self | None:
        """What the numbers of a ledger tell of it; None if it was no criterion."""
        if IN_RANGE not in accept.split(" & "):
            return None
        late = {name: refused.get(CRITERIA[name].refusal, 0) for name in (IN_RANGE, NOVEL, UNIQUE)}
        predicted = delivered + late[NOVEL] + late[UNIQUE]
        return cls(valid=predicted + late[IN_RANGE], predicted=predicted)

    @property
    def sentence(self) -> str:
        """In words."""
        told = f"{self.valid:,} were valid and {self.predicted:,} of them predicted to be in range"
        if self.in_truth is None or self.interval is None:
            return told
        low, high = self.interval
        return f"{told}; of those delivered, about {self.in_truth:,.0f} ({low:,.0f} to {high:,.0f}) are in truth"


class Ledger(Document):
    """What was asked for, what was attempted, and what became of it: attempts = delivered + all refused.

    Attributes:
        accept: what a delivered molecule had to be.
        asked: how many were to be delivered; None if a number of attempts was asked for.
        attempts: molecules made, up to the last that was needed.
        delivered: of these.
        met: wishes of a table whose molecule is in all of their ranges; None if there was no table.
        repaired: of the delivered, those that were refused at first and mended (repairs.py); None if nobody counted.
        refused: the others, by reason.
        calls: network calls of the attempts.
        surplus: molecules made beyond the attempts, because several are made at once.
        surplus_calls: their network calls.
        seconds: wall clock in all.
        stopped: whether the run was interrupted before it was done.
        in_range: how many are in the ranges asked for; None if that was no criterion.
    """

    kind: ClassVar[str] = "a ledger of deliveries"

    version: Literal[1] = Field(1, alias="schema_version")
    accept: str
    asked: int | None
    attempts: int
    delivered: int
    met: int | None = None
    repaired: int | None = None
    refused: Mapping[str, int]
    calls: int
    surplus: int
    surplus_calls: int
    seconds: float
    stopped: bool
    in_range: InRange | None = None

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
        calls, per = self.calls + self.surplus_calls, " per delivered molecule" if self.delivered else ""
        return (
            f"{self.attempts:,} attempts: {self.delivered:,} delivered"
            + (f", {self.repaired:,} of them repaired" if self.repaired else "")
            + (f"; refused: {refused}" if refused else "")
            + (f"; {self.surplus:,} made ahead and not needed" if self.surplus else "")
            + f"; {calls / max(1, self.delivered):.0f} network calls{per}"
            + (f". {self.in_range.sentence}" if self.in_range else "")
        )
