"""What a delivered molecule must be, as in `valid & unique & strain<50`: the table of criteria, and how they are read.

A molecule is refused for the first criterion that it does not meet, in the order of the table. What is costly is
measured last, on what is left. `unique` and `novel` compare molecules by InChIKey, which tells
stereoisomers apart. What these two and `in_range` say is found where molecules are delivered.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from ead_core.errors import ConfigError

Row = Mapping[str, Any]  # the measures of a molecule

UNIQUE, NOVEL = "unique", "novel"
IN_RANGE = "in_range"


class Limits(NamedTuple):
    """What a criterion is compared with, as written after its name."""

    most: float = inf


@dataclass(frozen=True)
class Criterion:
    """A row of the table.

    Attributes:
        meaning: for help texts.
        refusal: why a molecule is refused that does not meet it.
        met: whether a molecule does, from its row of measures.
        stages: of the evaluation that are needed beside the protocols (see `Measures.stages`).
        takes: what is written after the name, as in `strain<KCAL`; '' for nothing.
    """

    meaning: str
    refusal: str
    met: Callable[[Row, Limits], bool] = lambda row, limits: True
    stages: tuple[str, ...] = ()
    takes: str = ""


CRITERIA: dict[str, Criterion] = {
    "finite": Criterion("all coordinates are numbers, as of every delivered molecule", "not finite"),
    "even_electrons": Criterion(
        "all electrons can be paired", "odd number of electrons", lambda row, _: row["even_electrons"]
    ),
    "connected": Criterion("in one piece", "in several pieces", lambda row, _: row["pieces"] == 1),
    "stable": Criterion("all valences right, by the published protocol", "not stable", lambda row, _: row["stable"]),
    "valid": Criterion(
        "strictly valid: RDKit perceives it, one piece, no radical, no unusual valence",
        "not valid",
        lambda row, _: row.get("strict_valid", False),
    ),
    "plausible": Criterion(
        "passes PoseBusters' mol_fast",
        "not plausible",
        lambda row, _: row.get("posebusters", False),
        ("posebusters",),
    ),
    "strain": Criterion(
        "a force field relaxes it by less than so many kcal/mol",
        "too strained",
        lambda row, limits: row.get("strain", inf) < limits.most,
        ("strain",),
        "<KCAL",
    ),
    IN_RANGE: Criterion("predicted to be in the ranges asked for", "outside of the ranges asked for"),
    NOVEL: Criterion("not among the molecules of a file", "known", takes="=FILE"),
    UNIQUE: Criterion("not delivered before", "not unique"),
}
CHOICES = ", ".join(name + criterion.takes for name, criterion in CRITERIA.items())
_WRITTEN = re.compile(r"\s*([a-z_]+)\s*(?:([<=])\s*(.+?))?\s*")


@dataclass(frozen=True)
class Acceptance:
    """What a delivered molecule must be.

    Attributes:
        limits: what each criterion is compared with, by name, in the order of `CRITERIA`.
        known: file of the molecules that are not new.
    """

    limits: Mapping[str, Limits] = field(default_factory=dict)
    known: Path | None = None

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> "Acceptance":
        """Criteria separated by `&` or commas (ConfigError: one unknown, ill-written or with two values)."""
        written = [text] if isinstance(text, str) else list(text)
        found: dict[str, Limits] = {}
        known = None
        for part in filter(str.strip, re.split(r"[&,]", "&".join(written))):
            match = _WRITTEN.fullmatch(part)
            if match is None or match[1] not in CRITERIA:
                raise ConfigError(f"'{part.strip()}' is no criterion of acceptance; there are {CHOICES}.")
            name, sign, value = match.groups()
            takes = CRITERIA[name].takes
            if (sign or "") != takes[:1]:
                raise ConfigError(f"the criterion '{part.strip()}' must be written as {name}{takes}.")
            if takes and name in found:
                raise ConfigError(f"the criterion {name} is given twice; give it once.")
            found[name] = Limits(_number(name, value)) if sign == "<" else Limits()
            known = Path(value) if name == NOVEL else known
        if not found:
            raise ConfigError(f"there is no criterion of acceptance; there are {CHOICES}.")
        return cls({name: found[name] for name in CRITERIA if name in found}, known)

    @property
    def compares(self) -> bool:
        """Whether a molecule may be refused for what others are."""
        return bool({UNIQUE, NOVEL} & self.limits.keys())

    def __str__(self) -> str:
        """As it may be written."""
        return " & ".join(
            f"{name}<{limits.most:g}" if limits.most < inf else f"{name}={self.known}" if name == NOVEL else name
            for name, limits in self.limits.items()
        )


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < inf:
        raise ConfigError(f"the criterion {name}{CRITERIA[name].takes} takes a number above 0, not '{value}'.")
    return number
