"""What is said of every key, read off the fields of the sections: meaning, values, default, conditions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from ead_core.config.conditions import Condition, as_yaml, either

REQUIRED = "required"
JsonSchema = Mapping[str, Any]
WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "null": "null",
    "object": "a mapping",
}


@dataclass(frozen=True)
class Entry:
    """What there is to say of one key.

    Attributes:
        section, name: where it stands in a recipe.
        meaning: sentences, the first of which makes sense alone.
        accepted: its values in words, e.g. `a number from 0 to 1`.
        default: its value where a recipe says nothing; `REQUIRED` if there must be one.
        conditions: of the key, without which it has no effect.
        outer: conditions of the whole section.
    """

    section: str
    name: str
    meaning: str
    accepted: str
    default: Any
    conditions: tuple[Condition, ...]
    outer: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        """The key with its section, such as `sampler.steps`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def summary(self) -> str:
        """The first sentence of the meaning, up to what explains its values one by one."""
        return f"{self.meaning.split('. ')[0].split('; ')[0].split(': ')[0].rstrip('.')}."

    @property
    def needs(self) -> str:
        """The key's own conditions in words; empty if there are none."""
        return " and ".join(map(str, self.conditions))

    @property
    def explanation(self) -> str:
        """The meaning and the key's own conditions."""
        return f"{self.meaning} Only with {self.needs}." if self.needs else self.meaning

    def unmet(self, values: Mapping[str, Any]) -> Condition | None:
        """The first condition, of the key or its section, that the values of the other keys do not meet."""
        return next((each for each in self.conditions + self.outer if not each.met(values[each.key])), None)


@cache
def entries(model: type[BaseModel]) -> dict[str, Entry]:
    """All keys of a recipe, or of a single section, in their order."""
    return {entry.key: entry for entry in _entries(model, "", ())}


def _entries(model: type[BaseModel], section: str, outer: tuple[Condition, ...]) -> Iterator[Entry]:
    schema: JsonSchema = {}
    for name, field in model.model_fields.items():
        conditions = tuple(each for each in field.metadata if isinstance(each, Condition))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _entries(field.annotation, name, conditions)
        else:
            schema = schema or model.model_json_schema(by_alias=False)["properties"]
            default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
            meaning = " ".join((field.description or "").split())
            yield Entry(section, name, meaning, accepted(schema[name]), default, conditions, outer)


def accepted(schema: JsonSchema) -> str:
    """The values of a field in words, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(map(accepted, schema["anyOf"]))
    if "enum" in schema:
        return either(schema["enum"])
    if schema["type"] != "array":
        return WORDS[schema["type"]] + _range(schema)
    if "prefixItems" in schema:
        return f"[{', '.join(map(accepted, schema['prefixItems']))}]"
    return f"a list, each {accepted(schema['items'])}"


def _range(schema: JsonSchema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    bounds = {"at least": low, "above": above, "at most": high, "below": below}
    given = [f"{word} {bound}" for word, bound in bounds.items() if bound is not None]
    return f", {' and '.join(given)}" if given else ""


def markdown(title: str, meaning: str, keys: Iterable[Entry]) -> str:
    """A section of the reference: a heading and a table with a row per key."""
    rows = [f"| `{entry.key}` | {entry.accepted} | {_default(entry)} | {entry.explanation} |" for entry in keys]
    head = [f"## {title}", "", meaning, "", "| Key | Values | Default | Meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _default(entry: Entry) -> str:
    return REQUIRED if entry.default == REQUIRED else f"`{as_yaml(entry.default)}`"
