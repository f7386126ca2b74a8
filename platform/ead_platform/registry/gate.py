"""The gate that a candidate must pass to become champion: a recipe's `promotion:` section, and the decision.

Both models are asked for the same ids from the same seed, so that they are compared molecule by molecule. What counts
is the end of an interval that is worse for the candidate: a gain has to be shown, and so has the absence of a loss.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from ead_core.common.intervals import Interval, mean_interval, paired_difference, two_sided, wilson
from ead_core.common.noise import MAX_SEED
from ead_core.config import Section, parse_overrides, read_mapping, validate
from ead_core.errors import ConfigError

SECTION = "promotion"
Metric = Literal["molecule_stability", "validity", "perceived", "strict_validity"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class GateConfig(Section):
    """What a candidate must show to become the champion; read by `platform/jobs/promote.py` alone."""

    num: int = Field(1000, ge=2)
    """Molecules that each side makes."""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    """Seed of these molecules."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of the two-sided intervals whose lower ends are held against `gain` and `floor`."""
    gain: dict[Metric, FiniteFloat] = Field({"molecule_stability": 0.0, "validity": -0.05, "strict_validity": -0.05})
    """By how much each metric must exceed the champion's, as a share of all attempts: 0 asks for a proven gain, −0.05
    for proof that not more than five points are lost; intervals of 1,000 pairs reach three to four points."""
    floor: dict[Metric, FiniteFloat] = Field({"molecule_stability": 0.5, "validity": 0.7})
    """The least that each metric must reach, as a share of all attempts, whether or not there is a champion."""
    max_calls_ratio: float = Field(1.1, gt=0)
    """How many times the champion's network calls a candidate may take, by the upper end of the paired interval."""
    max_seconds_ratio: float | None = Field(None, gt=0)
    """How many times the champion's seconds a candidate may take, as measured; null sets no limit."""
    sampler: dict[str, Any] = Field({})
    """Sampler settings of both sides, under keys without `sampler.`; what is left out is each checkpoint's own."""

    def flat(self) -> dict[str, Any]:
        """All values under dotted keys, e.g. `promotion.gain.validity`."""
        flat: dict[str, Any] = {}
        for key, value in self.model_dump().items():
            inner = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
            flat |= {f"{SECTION}.{name}": one for name, one in inner.items()}
        return flat


class _Overridden(Section):
    """So that errors name keys as they are written in a recipe."""

    promotion: GateConfig


def load_gate(path: Path | None, overrides: Iterable[str]) -> GateConfig:
    """The section of a YAML file, or the defaults, with `promotion.key=value` on top.

    Raises:
        ConfigError: no such file or section, unknown key, or a value outside its range.
    """
    section = GateConfig().model_dump()
    if path is not None:
        given = read_mapping(path, "a section `promotion:`").get(SECTION)
        if not isinstance(given, dict):
            raise ConfigError(f"{path} has no section `promotion:` with keys such as `num: 1000`.")
        section |= given
    for key, value in parse_overrides(overrides).items():
        outer, *names = key.split(".")
        if outer != SECTION or not names:
            raise ConfigError(f"only promotion.* keys can be given to promote, not '{key}'.")
        _set(section, names, value)
    gate: GateConfig = validate(_Overridden, {SECTION: section}).promotion
    return gate


def _set(section: dict[str, Any], names: list[str], value: Any) -> None:
    first, *rest = names
    if rest and isinstance(section.get(first), dict):
        section[first] = {**section[first], ".".join(rest): value}
    else:
        section[".".join(names)] = value


@dataclass(frozen=True)
class Outcomes:
    """What became of the same M attempts with one model.

    Attributes:
        hits: [M] success in the order of the ids, by metric.
        calls: [M] network calls.
        seconds: per molecule, on the machine that made them.
    """

    hits: Mapping[str, NDArray[np.bool_]]
    calls: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    Attributes:
        name: key of the condition, such as `gain.validity`.
        value: estimate.
        interval: of it, at the gate's confidence; None where none is known.
        bound: what the worse end of the interval (or the estimate, without one) is held against.
        passed: whether it is on the right side.
    """

    name: str
    value: float
    interval: Interval | None
    bound: float
    passed: bool

    def sentence(self) -> str:
        """The comparison as one sentence, shares in percentage points."""
        kind, _, metric = self.name.partition(".")
        if kind == "ratio":
            ends = f" (at most {self.interval[1]:.3g})" if self.interval else ""
            return f"{metric} {self.value:.3g} times the champion's{ends}, allowed {self.bound:.3g}"
        low, high = (100 * end for end in self.interval or (self.value, self.value))
        value, bound = 100 * self.value, 100 * self.bound
        title = metric.replace("_", " ")
        if kind == "floor":
            return f"{title} {value:.1f} % ({low:.1f}–{high:.1f}), needed {bound:.1f}"
        return f"{title} {value:+.1f} ({low:+.1f} to {high:+.1f}), needed more than {bound:+.1f}"


@dataclass(frozen=True)
class Decision:
    """All conditions; the gate is open if every one of them holds."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate becomes champion."""
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """What was not met; for an open gate what was gained."""
        failed = [check.sentence() for check in self.checks if not check.passed]
        if failed:
            return "; ".join(failed)
        gains = [check for check in self.checks if check.name.startswith("gain.")]
        return "; ".join(check.sentence() for check in gains or self.checks)


def decide(candidate: Outcomes, champion: Outcomes | None, gate: GateConfig) -> Decision:
    """Hold a candidate against the floors and, if there is one, the champion.

    Args:
        candidate: outcomes of M attempts.
        champion: outcomes of the attempts with the same ids and seed; None if the candidate is the first.
        gate: the conditions.
    """
    z = two_sided(gate.confidence)
    checks = [_floor(candidate, metric, least, z) for metric, least in gate.floor.items()]
    if champion is not None:
        checks += [_gain(candidate, champion, metric, least, z) for metric, least in gate.gain.items()]
        checks.append(_calls(candidate, champion, gate.max_calls_ratio, z))
        if gate.max_seconds_ratio is not None:
            ratio = candidate.seconds / champion.seconds
            checks.append(Check("ratio.seconds", ratio, None, gate.max_seconds_ratio, ratio <= gate.max_seconds_ratio))
    return Decision(tuple(checks))


def _floor(candidate: Outcomes, metric: str, least: float, z: float) -> Check:
    hits = candidate.hits[metric]
    interval = wilson(int(hits.sum()), len(hits), z)
    return Check(f"floor.{metric}", float(hits.mean()), interval, least, interval[0] >= least)


def _gain(candidate: Outcomes, champion: Outcomes, metric: str, least: float, z: float) -> Check:
    pair = paired_difference(champion.hits[metric], candidate.hits[metric], z)
    return Check(f"gain.{metric}", pair.difference, pair.interval, least, pair.interval[0] > least)


def _calls(candidate: Outcomes, champion: Outcomes, most: float, z: float) -> Check:
    """The ratio of the means, with the interval of the delta method: of the mean of (a − r b) / b̄ around r."""
    mean = float(champion.calls.mean())
    ratio = float(candidate.calls.mean()) / mean
    low, high = mean_interval((candidate.calls - ratio * champion.calls) / mean, z)
    interval = (ratio + low, ratio + high)
    return Check("ratio.calls", ratio, interval, most, interval[1] <= most)
