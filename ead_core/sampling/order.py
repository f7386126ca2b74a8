"""How many molecules a caller wants, and what they must be; without torch, so that help texts are quick."""

from dataclasses import dataclass

from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import Acceptance

LEAST_TRIES, TRIES = 1000, 20  # attempts at most, in all and per molecule asked for, if nobody says how many


@dataclass(frozen=True)
class Order:
    """How many molecules are to be delivered, and what they must be.

    Attributes:
        accept: what a delivered molecule must be.
        until: how many are to be delivered; None delivers what is accepted of the attempts of the request.
        max_attempts: at most so many; None stands for 20 per molecule, but at least 1,000.
    """

    accept: Acceptance
    until: int | None = None
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("until", self.until), ("max_attempts", self.max_attempts)):
            if number is not None and number < 1:
                raise ConfigError(f"{name} must be at least 1, not {number}.")
        if self.max_attempts is not None and self.until is None:
            raise ConfigError("max_attempts needs until; without it, num is the number of attempts.")

    @property
    def limit(self) -> int | None:
        """Most attempts; None if their number is that of the request."""
        return self.until and (self.max_attempts or max(LEAST_TRIES, TRIES * self.until))
