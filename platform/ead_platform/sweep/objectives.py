"""What a sweep is after: measures to be made large or small, and bounds that others must keep."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ead_core.errors import ConfigError
from ead_core.evaluation.evaluate import check_parts
from ead_core.evaluation.figure import Figure
from ead_core.evaluation.run import parse_parts
from ead_platform.sweep.measures import QUICK, available

DEFAULT = "molecule_stability:max"
CALLS = "nfe_per_molecule"
SAID = {  # short names beside those of the card
    "strictly_valid": "strict_validity",
    "strictly_valid_distinct": "strict_unique",
    "seconds_per_delivered": "seconds_per_good_molecule",
    "calls": CALLS,
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Objective:
    """A measure that is to be made large or small."""

    name: str
    maximise: bool

    @property
    def mode(self) -> str:
        """As Ray and Optuna write it."""
        return "max" if self.maximise else "min"

    def gain(self, row: Row) -> float:
        """The measure of a trial, with its sign turned where less is better."""
        return float(row[self.name]) if self.maximise else -float(row[self.name])

    def __str__(self) -> str:
        return f"{self.name}:{self.mode}"


@dataclass(frozen=True)
class Constraint:
    """A bound that a measure must keep."""

    name: str
    at_least: bool
    bound: float

    def excess(self, row: Row) -> float:
        """By how much a trial misses the bound; not above 0 where it keeps it."""
        distance = self.bound - float(row[self.name])
        return distance if self.at_least else -distance

    def __str__(self) -> str:
        return f"{self.name}{'>=' if self.at_least else '<='}{self.bound:g}"


@dataclass(frozen=True)
class Goals:
    """All objectives and constraints of a sweep.

    Attributes:
        objectives: the first is what trials are ranked by.
        constraints: that a setting must keep to be recommended.
        parts: of the card that are measured of each trial.
        figures: what can be measured, with titles and units.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    parts: tuple[str, ...] = QUICK
    figures: Mapping[str, Figure] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, objectives: str = DEFAULT, constraints: Sequence[str] = (), parts: str | None = None) -> Self:
        """Goals as they are said on a command line, checked by measuring three molecules.

        Args:
            objectives: `measure:max,measure:min`.
            constraints: `measure>=number` or `measure<=number`.
            parts: of the card, as of `ead evaluate --parts`; None measures what the goals need of both protocols.

        Raises:
            ConfigError: another form, a measure that these parts do not have, or one that is named twice.
        """
        goals = tuple(map(_objective, objectives.split(",")))
        bounds = tuple(map(_constraint, constraints))
        named = [each.name for each in goals] + [each.name for each in bounds]
        quick = available(QUICK)
        measured = parse_parts(parts) if parts else QUICK if set(named) <= quick.keys() else ()
        check_parts(measured)
        figures = quick if measured == QUICK else available(measured)
        for name in named:
            if name not in figures:
                raise ConfigError(_unknown(name, figures))
        if repeated := [each.name for each in goals if [one.name for one in goals].count(each.name) > 1]:
            raise ConfigError(f"--objectives: {repeated[0]} is given twice.")
        return cls(goals, bounds, measured, figures)

    @property
    def first(self) -> Objective:
        """What trials are ranked by."""
        return self.objectives[0]

    @property
    def usual(self) -> bool:
        """Whether these are the goals of the founding experiment."""
        return [str(each) for each in self.objectives] == [DEFAULT] and not self.constraints

    @property
    def names(self) -> list[str]:
        """All measures that a trial needs, each once."""
        sought, bounded = [each.name for each in self.objectives], [each.name for each in self.constraints]
        return list(dict.fromkeys(sought + bounded))

    def values(self, row: Row) -> list[float]:
        """The measures of a trial, in the order of the objectives."""
        return [float(row[each.name]) for each in self.objectives]

    def excesses(self, row: Row) -> list[float]:
        """By how much a trial misses each constraint."""
        return [each.excess(row) for each in self.constraints]

    def kept(self, row: Row) -> bool:
        """Whether a trial keeps all constraints."""
        return all(excess <= 0 for excess in self.excesses(row))

    def unknown(self, row: Row) -> str | None:
        """Why a trial cannot be judged, if a measure is not a finite number."""
        for name in self.names:
            if not math.isfinite(row.get(name, math.nan)):
                return f"{name} is {row.get(name, 'unknown')}, so that the trial cannot be judged."
        return None

    def title(self, name: str) -> str:
        """A measure for people, in words."""
        return self.figures[name].title if name in self.figures else name

    def shown(self, row: Row, name: str) -> str:
        """A measure of a trial in its unit, with its interval if there is one."""
        return shown(row, name, self.percent(name))

    def percent(self, name: str) -> bool:
        """Whether a measure is a share."""
        return name in self.figures and self.figures[name].unit == "%"

    def to_json(self) -> dict[str, Any]:
        """As it is written into the question of a sweep; nothing for the founding experiment."""
        if self.usual and self.parts == QUICK:
            return {}
        return {
            "objectives": [str(each) for each in self.objectives],
            "constraints": [str(each) for each in self.constraints],
            "parts": list(self.parts),
        }


def shown(row: Row, name: str, percent: bool) -> str:
    """`85.0 (81.0–88.3)`: a measure of a trial, a share in percent."""
    number: Callable[[float], str] = (lambda x: f"{100 * x:.1f}") if percent else (lambda x: f"{x:.4g}")
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return number(row[name]) + (f" ({number(low)}–{number(high)})" if low is not None and high is not None else "")


def _objective(text: str) -> Objective:
    name, colon, mode = (part.strip() for part in text.partition(":"))
    if not name or not colon or mode not in ("max", "min"):
        raise ConfigError(
            f"--objectives must be like strictly_valid:max,calls_per_delivered:min, not '{text.strip()}'."
        )
    return Objective(SAID.get(name, name), mode == "max")


def _constraint(text: str) -> Constraint:
    parts = re.fullmatch(r"\s*(\w+)\s*(>=|<=)\s*(\S+)\s*", text)
    try:
        bound = float(parts[3]) if parts else math.nan
    except ValueError:
        bound = math.nan
    if parts is None or not math.isfinite(bound):
        raise ConfigError(f"--constraint must be like 'validity>=0.85', a share of 1, not '{text}'.")
    return Constraint(SAID.get(parts[1], parts[1]), parts[2] == ">=", bound)


def _unknown(name: str, figures: Mapping[str, Figure]) -> str:
    known = [*figures, *SAID]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return (
        f"there is no measure '{name}'; {hint}These are measured: {', '.join(sorted(known))}; --parts measures more "
        "(as of `ead evaluate --parts`)."
    )
