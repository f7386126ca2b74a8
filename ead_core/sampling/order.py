"""How many molecules a caller wants, and what they must be; without torch, so that help texts are quick."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import IN_RANGE, Acceptance

LEAST_TRIES, TRIES = 1000, 20  # attempts at most, in all and per molecule asked for, if nobody says how many
GOOD = Acceptance.parse("valid & unique")  # what a delivered molecule must be if nobody says it …
GOOD_IN_RANGE = Acceptance.parse("valid & unique & in_range")  # … but asks for so many in a range
PER_WISH, POOL_PER_WISH = 4, 2  # attempts for each wish of a table: in all, and of these before the first look
PAIRS = 2**24  # of wishes and attempts that are looked at together: 128 MiB


def criteria_of(accept: str | Sequence[str] | None, until: int | None, ranged: bool) -> Acceptance | None:
    """What a delivered molecule must be; None if all attempts are delivered.

    Args:
        accept: what was said of it.
        until: how many are to be delivered, if that was said.
        ranged: whether a range is among the targets, which so many are to be in if nothing else was said.
    """
    if accept:
        return Acceptance.parse(accept)
    return GOOD_IN_RANGE if until is not None and ranged else None


def check_repairs(settings: Mapping[str, object], accepts: bool) -> None:
    """Refuse settings of repairs where nothing is refused, so that there is nothing to repair (ConfigError).

    Args:
        settings: of the sampler, as given, without prefix.
        accepts: whether it is said what a delivered molecule must be.
    """
    given = [key for key in settings if key.startswith("repair_")]
    if given and not accepts and settings.get("repair_attempts") != 0:
        raise ConfigError(
            f"sampler.{given[0]} is of repairs of what is not accepted, and here all molecules are; say what a "
            "molecule must be (accept), or leave it out."
        )


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
    def predicts(self) -> bool:
        """Whether properties are predicted, since molecules are to be in the ranges of their targets."""
        return IN_RANGE in self.accept.limits

    @property
    def limit(self) -> int | None:
        """Most attempts; None if their number is that of the request."""
        return self.until and (self.max_attempts or max(LEAST_TRIES, TRIES * self.until))


class Part(NamedTuple):
    """Consecutive wishes that are matched together: the first, how many, their first attempts, and all of them."""

    first: int
    wishes: int
    pool: int
    attempts: int


@dataclass(frozen=True)
class MatchOrder:
    """How many attempts a table of wishes is worth, and what a molecule must be that meets one.

    Attributes:
        accept: what a delivered molecule must be.
        pool: attempts before molecules are matched with wishes for the first time; None stands for two per wish, or
            for half of `max_attempts`.
        max_attempts: in all; None stands for four per wish, or for twice the pool.
    """

    accept: Acceptance = GOOD
    pool: int | None = None
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("pool", self.pool), ("max_attempts", self.max_attempts)):
            if number is not None and number < 1:
                raise ConfigError(f"{name} must be at least 1, not {number}.")
        if self.pool and self.max_attempts and self.pool > self.max_attempts:
            raise ConfigError(f"pool must be at most max_attempts, {self.max_attempts}, not {self.pool}.")

    @classmethod
    def of(cls, accept: str | Sequence[str] | None, pool: int | None, max_attempts: int | None) -> "MatchOrder":
        """An order as a user gives it (ConfigError: a value out of range, or criteria that are none)."""
        return cls(Acceptance.parse(accept) if accept else GOOD, pool, max_attempts)

    @property
    def predicts(self) -> bool:
        """Whether properties are predicted, as of every molecule that is matched."""
        return True

    def attempts(self, wishes: int) -> tuple[int, int]:
        """Those of the pool, and all of them, for so many wishes."""
        share = PER_WISH // POOL_PER_WISH
        most = self.max_attempts or (share * self.pool if self.pool else PER_WISH * wishes)
        return self.pool or max(1, most // share), most

    def parts(self, wishes: int) -> Iterator[Part]:
        """Nearly equal parts of a table, each with its share of the attempts, small enough to be matched as one."""
        pool, most = self.attempts(wishes)
        count = math.ceil(math.sqrt(wishes * most / PAIRS))
        ends = [[number * total // count for number in range(count + 1)] for total in (wishes, pool, most)]
        for number in range(count):
            yield Part(ends[0][number], *(end[number + 1] - end[number] for end in ends))
