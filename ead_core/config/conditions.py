"""When a key has an effect: conditions that stand on its field, beside its range and meaning."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A key has an effect only where another key has one of some values, or none of them.

    Attributes:
        key: the other key, e.g. `sampler.policy`.
        values: its values.
        accepted: whether these are the values with an effect, or those without.
    """

    key: str
    values: tuple[Any, ...]
    accepted: bool = True

    def met(self, value: Any) -> bool:
        """Whether the condition holds when the other key has this value."""
        return (value in self.values) == self.accepted

    def __str__(self) -> str:
        listed = either(self.values)
        return f"{self.key}={listed}" if self.accepted else f"{self.key} other than {listed}"


def only_with(key: str, *values: Any) -> Condition:
    """The key has an effect only where `key` has one of `values`."""
    return Condition(key, values)


def unless(key: str, value: Any) -> Condition:
    """The key has no effect where `key` has this value."""
    return Condition(key, (value,), accepted=False)


def as_yaml(value: Any) -> str:
    """A value as it is written in a recipe."""
    return value if isinstance(value, str) else json.dumps(value)


def either(values: Sequence[Any]) -> str:
    """Values as alternatives: `a, b or c`."""
    *others, last = map(as_yaml, values)
    return f"{', '.join(others)} or {last}" if others else last
