"""The search space of a sweep: what each key may be, and in which trials it has a part.

In YAML, a key of the settings stands for a list of choices, or for a mapping that is one of the models below:

    sampler.pause_mode: [repeat, hold]
    sampler.temperature: {type: float, low: 0.1, high: 1, log: true}
    sampler.corrector_mode: {type: choice, choices: [renoise, repeat], unless: {sampler.corrector: 0}}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from ead_core.common.strict_yaml import parse_yaml
from ead_core.config.conditions import Condition
from ead_core.errors import ConfigError, one_line

Point = Mapping[str, Any]
MARKS = 9  # values that stand for a continuous parameter where all of its values would be too many


class _Parameter(BaseModel):
    """What is common to all kinds of parameters: the conditions under which a trial has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    when: dict[str, Any] = {}
    """Only in trials in which these other keys have this value, or one of a list of values."""
    unless: dict[str, Any] = {}
    """Not in trials in which one of these other keys has this value, or one of a list of values."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those of `when` and `unless`."""
        needed = [Condition(key, _many(value)) for key, value in self.when.items()]
        return (*needed, *(Condition(key, _many(value), accepted=False) for key, value in self.unless.items()))


class Choice(_Parameter):
    """One of a list of values."""

    type: Literal["choice"]
    choices: list[Any] = Field(min_length=1)

    @field_validator("choices")
    @classmethod
    def _single(cls, choices: list[Any]) -> list[Any]:
        if nested := [choice for choice in choices if isinstance(choice, list | dict)]:
            raise ValueError(f"must be single values, not {nested[0]}")
        return choices

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        return CategoricalDistribution(self.choices)

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value in a trial."""
        return trial.suggest_categorical(key, self.choices)

    def marks(self) -> list[Any]:
        """All choices."""
        return list(self.choices)

    @property
    def fallback(self) -> Any:
        """What stands for a value that is none of the choices."""
        return self.choices[0]

    def read(self, text: str) -> Any:
        """The choice that a text stands for, ValueError if there is none; pandas writes 1 among others as 1.0."""
        read = parse_yaml(text)
        for choice in self.choices:
            if text == str(choice) or read == choice:
                return choice
        raise ValueError("which is none of its choices")


class _Range(_Parameter):
    """A number from `low` to `high`."""

    low: float
    high: float
    log: bool = False
    """Whether it is drawn by its logarithm."""
    step: float | None = Field(None, gt=0)
    """Distance of its values; null allows all."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not exceed high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 with log: true, not {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("step does not go with log: true; leave one out")
        if self.step and abs((self.high - self.low) / self.step - round((self.high - self.low) / self.step)) > 1e-8:
            raise ValueError(f"high must be low plus a multiple of step ({self.step:g})")
        return self

    @property
    def fallback(self) -> Any:
        """What stands for a value outside of the range."""
        return self.high

    def _spread(self) -> list[float]:
        if self.step:
            every = np.arange(round((self.high - self.low) / self.step)) * self.step + self.low
            return [round(float(value), 12) for value in every[:: max(1, -(-len(every) // MARKS))]] + [self.high]
        spread = np.geomspace if self.log else np.linspace
        return [float(value) for value in spread(self.low, self.high, MARKS)]


class Float(_Range):
    """A real number, both ends included."""

    type: Literal["float"]

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value in a trial."""
        return trial.suggest_float(key, self.low, self.high, log=self.log, step=self.step)

    def marks(self) -> list[Any]:
        """Values from one end to the other."""
        return list(dict.fromkeys(self._spread()))

    def read(self, text: str) -> Any:
        """The number that a text stands for (ValueError if there is none within the range)."""
        value = float(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"which is not from {self.low:g} to {self.high:g}")
        return value


class Int(_Range):
    """A whole number, both ends included."""

    type: Literal["int"]
    low: int
    high: int
    step: int | None = Field(None, gt=0)

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)

    def suggest(self, trial: Trial, key: str) -> Any:
        """The value in a trial."""
        return trial.suggest_int(key, self.low, self.high, log=self.log, step=self.step or 1)

    def marks(self) -> list[Any]:
        """Values from one end to the other."""
        return list(dict.fromkeys(round(value) for value in self._spread()))

    def read(self, text: str) -> Any:
        """The number that a text stands for (ValueError if there is none within the range)."""
        value = float(text)
        if not self.low <= value <= self.high or value != int(value):
            raise ValueError(f"which is no whole number from {self.low} to {self.high}")
        return int(value)


Parameter = Choice | Float | Int
_ANY: TypeAdapter[Parameter] = TypeAdapter(Annotated[Parameter, Field(discriminator="type")])


def parse_parameter(key: str, written: object) -> Parameter:
    """What stands for a key in a space (ConfigError, one sentence that begins with the key)."""
    if isinstance(written, list):
        written = {"type": "choice", "choices": written}
    if not isinstance(written, Mapping):
        raise ConfigError(f"{key} must be a list of choices or a mapping with type: float, int or choice.")
    try:
        return _ANY.validate_python(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        if first["type"].startswith("union_tag"):
            raise ConfigError(f"{key}: type must be float, int or choice.") from error
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{key}: '{where}' is not known with type: {first['loc'][0]}.") from error
        said = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise ConfigError(f"{key}: {f'{where} ' if where else ''}{one_line(ValueError(said))}.") from error


def _many(value: Any) -> tuple[Any, ...]:
    """The values of a condition; an empty list is itself a value, that of a key that names nothing."""
    return tuple(value) if isinstance(value, list) and value else ((),) if isinstance(value, list) else (value,)


@dataclass(frozen=True)
class Space:
    """The parameters of a sweep, checked against a checkpoint (checked_space.py).

    Attributes:
        parameters: by key, each after those that its conditions name.
        conditions: of each key.
        own: what all keys are where a trial says nothing.
    """

    parameters: Mapping[str, Parameter]
    conditions: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    own: Point = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """Dotted keys in their order."""
        return list(self.parameters)

    def has(self, key: str, point: Point) -> bool:
        """Whether a trial with the keys of `point`, as far as they come before this one, has the key."""
        return all(each.met(point.get(each.key, self.own.get(each.key))) for each in self.conditions.get(key, ()))

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """The point of a trial of Optuna."""
        point: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if self.has(key, point):
                point[key] = parameter.suggest(trial, key)
        return point

    def distributions(self, point: Point) -> dict[str, BaseDistribution]:
        """As Optuna knows the keys of a point."""
        return {key: self.parameters[key].distribution for key in point}

    def read(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """The point of a row of text (ValueError if a value is none of the space)."""
        point: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if self.has(key, point):
                if key not in texts:
                    raise ValueError(f"there is no column {key}")
                try:
                    point[key] = parameter.read(texts[key])
                except ValueError as error:
                    raise ValueError(f"{key} is {texts[key]!r}, {error}") from error
        return point

    def point(self, wanted: Point) -> dict[str, Any] | None:
        """A point with given values; other keys are as the checkpoint has them, or the first choice, or the high end.

        None if a value is outside of the space.
        """
        point: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if self.has(key, point):
                try:
                    point[key] = parameter.read(str(wanted.get(key, self.own.get(key))))
                except ValueError:
                    if key in wanted:
                        return None
                    point[key] = parameter.fallback
        return point

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in YAML."""
        return {key: _plain(parameter) for key, parameter in self.parameters.items()}


def _plain(parameter: Parameter) -> Any:
    written = parameter.model_dump(mode="json", exclude_defaults=True)
    return written["choices"] if written.keys() == {"type", "choices"} else written
