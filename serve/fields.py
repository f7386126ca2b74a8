"""The fields of a request, each with the check of what it may hold."""

from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
    WrapValidator,
    field_validator,
    model_validator,
)

from ead_core.config import Config, SamplerConfig
from ead_core.config.reference import entries
from ead_core.config.sampler_section import PAIRS, Rate
from ead_core.data.targets import TargetError, bounds
from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import CRITERIA, NOVEL, Acceptance

Format = Literal["json", "sdf", "xyz", "smiles"]

MOST_PROBLEMS = 20  # reported of one body; looking at thousands would keep everybody else waiting
MOST_SIZES, MOST_RATES, MOST_TARGETS, MOST_CRITERIA = 1000, 1000, 50, 50
MOST_WISHES, MOST_CELLS = 1000, 2000  # rows of a table, and values in it
LONGEST_NAME = 100  # characters of a property, and of a criterion


def _as_documented(schema: dict[str, Any]) -> None:
    """What recipes say of the keys; no defaults, since those are the checkpoint's."""
    known = entries(Config)
    for name, entry in schema["properties"].items():
        entry.pop("default", None)
        entry.pop("title", None)
        entry["description"] = known[name].explanation


class Body(BaseModel):
    """An object sent by a client; unknown keys are refused, and no more than the first of them looked at."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, sent: Any) -> Any:
        if not isinstance(sent, dict):
            return sent
        known = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = islice((key for key in sent if key not in known), MOST_PROBLEMS)
        return {key: _whole(sent[key]) for key in [*known, *unknown] if key in sent}


def _whole(value: Any) -> Any:
    """4.0 as 4: in JSON they are the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]


def _at_most(most: int) -> BeforeValidator:
    """Refuses a longer one before its entries are looked at, which pydantic does for lists alone."""

    def short(value: Any) -> Any:
        if isinstance(value, tuple | dict) and len(value) > most:
            raise ValueError(f"must have at most {most} entries, not {len(value)}")
        return value

    return BeforeValidator(short)


class SamplerSettings(Body, SamplerConfig):
    """Sampler settings under the dotted keys of recipes; what is left out is the checkpoint's own."""

    model_config = ConfigDict(
        alias_generator=lambda name: f"sampler.{name}", strict=True, json_schema_extra=_as_documented
    )

    advance_rate: Annotated[tuple[Rate, ...], _at_most(MOST_RATES)] = Field(
        SamplerConfig.model_fields["advance_rate"].default, min_length=1, max_length=MOST_RATES
    )

    # For the server to decide, so no keys of a request:
    batch_size: ClassVar[int]  # type: ignore[misc]
    memory_budget: ClassVar[float]  # type: ignore[misc]
    precision: ClassVar[str]  # type: ignore[misc]

    @field_validator(*PAIRS, mode="before")
    @classmethod
    def _pair(cls, levels: Any) -> Any:
        return tuple(levels) if isinstance(levels, list) else levels  # JSON knows no tuples

    def changes(self) -> dict[str, Any]:
        """The given settings, without prefix."""
        return self.model_dump(exclude_unset=True)


class AtomRange(Body):
    """A range of atoms per molecule, hydrogens included."""

    smallest: int
    largest: int


def _wish(value: Any) -> float | list[float]:
    """A number or [low, high], as given (ValueError if it is neither)."""
    try:
        bounds("", value)
    except TargetError:
        raise ValueError("must be a number or [low, high] with low at most high") from None
    kept: float | list[float] = value
    return kept


_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
Wish = Annotated[float | list[float], PlainValidator(_wish), WithJsonSchema({"anyOf": [{"type": "number"}, _PAIR]})]


Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Wishes = Annotated[dict[Name, Wish], Field(max_length=MOST_TARGETS), _at_most(MOST_TARGETS)]
Row = Annotated[dict[Name, Wish | None], Field(max_length=MOST_TARGETS), _at_most(MOST_TARGETS)]
Rows = Annotated[list[Row], Field(max_length=MOST_WISHES)]
_OF_ALL, _OF_ROWS = TypeAdapter[Any](Wishes), TypeAdapter[Any](Rows)


def _of_all_or_rows(value: Any, _: Any) -> Any:
    """Targets that all molecules share, or a table of them; a mistake has its place in the one that was sent."""
    if isinstance(value, list):
        cells = sum(len(row) for row in value[:MOST_WISHES] if isinstance(row, dict))
        if cells > MOST_CELLS:
            raise ValueError(f"must hold at most {MOST_CELLS} values in all rows, not {cells}")
        return _OF_ROWS.validate_python(value, strict=True)
    if isinstance(value, dict):
        return _OF_ALL.validate_python(value, strict=True)
    raise ValueError("must be an object of targets, or with match a list of such, a row per wish")


Asked = Annotated[Wishes | Rows, WrapValidator(_of_all_or_rows)]


def _criteria(value: Any) -> str | list[str]:
    """Criteria of acceptance, as given (ValueError if they are none, or compare with a file)."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts[:MOST_CRITERIA]):
        raise ValueError("must be criteria as text, such as 'valid & unique', or a list of such texts")
    if len(parts) > MOST_CRITERIA or any(len(part) > MOST_CRITERIA * LONGEST_NAME for part in parts):
        raise ValueError(f"must be at most {MOST_CRITERIA} criteria of {LONGEST_NAME} characters")
    try:
        accept = Acceptance.parse(parts)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if accept.known:
        raise ValueError(f"the criterion {NOVEL} is not offered over HTTP, since it reads a file of the server")
    kept: str | list[str] = value
    return kept


CRITERIA_OFFERED = {name: criterion for name, criterion in CRITERIA.items() if name != NOVEL}
_CRITERIA_TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MOST_CRITERIA * LONGEST_NAME}
_CRITERIA_LIST = {"type": "array", "items": _CRITERIA_TEXT, "minItems": 1, "maxItems": MOST_CRITERIA}
Criteria = Annotated[
    str | list[str], PlainValidator(_criteria), WithJsonSchema({"anyOf": [_CRITERIA_TEXT, _CRITERIA_LIST]})
]
