"""Bodies of requests and answers, as they stand in the OpenAPI document."""

from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ead_core.common.noise import MAX_SEED
from ead_core.config import Config, SamplerConfig
from ead_core.config.presets import PresetName
from ead_core.config.reference import entries
from ead_core.config.sampler_section import PAIRS, Rate
from ead_core.data.targets import TargetError, bounds
from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import CRITERIA, NOVEL, Acceptance
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.order import LEAST_TRIES, TRIES

Format = Literal["json", "sdf", "xyz", "smiles"]

MOST_PROBLEMS = 20  # reported of one body; looking at thousands would keep everybody else waiting
MOST_SIZES, MOST_RATES, MOST_TARGETS, MOST_CRITERIA = 1000, 1000, 50, 50
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


class MoleculesRequest(Body):
    """Which molecules to generate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"num": 2, "seed": 0},
                {
                    "num": 3,
                    "seed": 7,
                    "sizes": [15, 18],
                    "sampler": {"sampler.policy": "adaptive", "sampler.async_ratio": 0.1},
                    "format": "sdf",
                },
                {"accept": "valid & unique", "until": 2},
            ]
        },
    )

    num: int = Field(
        4,
        description="How many molecules (with `accept`: attempts), at most `limits.max_molecules` of `GET /v1/model`.",
        json_schema_extra={"minimum": 1},
    )
    seed: int = Field(
        0,
        ge=0,
        le=MAX_SEED,
        description="0 to 2⁶³ − 1. Equal seeds give the molecules that `ead sample --seed` gives, to rounding.",
    )
    sizes: Annotated[list[Integer], Field(max_length=MOST_SIZES)] | None = Field(
        None,
        description="Atoms per molecule, hydrogens included, cycled through if there are fewer than `num`; each within "
        "`sizes` of `GET /v1/model`. Left out, they are drawn from the training data's histogram.",
    )
    size_range: AtomRange | None = Field(
        None, description="Instead of `sizes`: draw them from the part of the histogram within this range."
    )
    targets: Annotated[dict[Name, Wish], Field(max_length=MOST_TARGETS), _at_most(MOST_TARGETS)] | None = Field(
        None,
        description="What the molecules shall have: a value, or [low, high] from which one is drawn as training has "
        "them, by property of `properties` of `GET /v1/model` and in its unit. What is left out is open. A number of "
        "atoms for every element (`atoms_C` and so on) is a formula, which all molecules have; every model with sizes "
        "of the caller's takes one.",
    )
    accept: Criteria | None = Field(
        None,
        description="What a delivered molecule must be: criteria joined by `&`, or a list of them. A molecule is "
        "refused for the first that it does not meet, and `ledger` counts all. There are "
        + "; ".join(f"`{name}{criterion.takes}`: {criterion.meaning}" for name, criterion in CRITERIA_OFFERED.items())
        + ".",
        examples=["valid & unique", ["connected", "strain<50"]],
    )
    until: int | None = Field(
        None,
        ge=1,
        description="With `accept`, and instead of `num`: how many molecules are to be delivered, at most "
        "`limits.max_molecules` of `GET /v1/model`. Left out, what is accepted of `num` attempts is.",
    )
    max_attempts: int | None = Field(
        None,
        ge=1,
        description=f"With `until`: at most so many attempts, after which fewer molecules are delivered; {TRIES} per "
        f"molecule if it is left out, at least {LEAST_TRIES:,}, as far as `limits.max_request_calls` of "
        "`GET /v1/model` allow.",
    )
    sampler: SamplerSettings = Field(
        default_factory=SamplerSettings,
        description="Changes to the checkpoint's sampler settings, e.g. `sampler.async_ratio`.",
    )
    preset: PresetName | None = Field(
        None,
        description="Sampler settings under a name, from few network calls to many; what `sampler` gives comes before "
        "them. Left out, the checkpoint's own settings count.",
    )
    format: Format = Field(
        "json", description="`json` has everything; the others are text: an SDF, an XYZ, or SMILES lines."
    )
    timeout: float | None = Field(
        None,
        ge=1,
        description="Seconds after which to give up with 504, from 1 to `limits.max_seconds` of `GET /v1/model`, which "
        "counts if it is left out.",
    )


class Molecule(BaseModel):
    """One generated molecule."""

    id: int = Field(description="0 to num − 1; seed and id name a molecule.")
    smiles: str | None = Field(
        description="Canonical SMILES of the whole molecule, with stereochemistry, without explicit hydrogens; null if "
        "its bonds cannot be perceived from its geometry."
    )
    elements: list[str] = Field(description="Element symbols of the N atoms.")
    positions: list[list[float]] = Field(description="N rows of x, y, z in Å.")
    sdf: str = Field(
        description="The molecule as a record of an SDF, with perceived bonds and charges; its field "
        "`warning` says what is wrong with it."
    )
    nfe: int = Field(description="Network calls the molecule took.")
    targets: dict[str, float | None] = Field(description="The values that were asked for.")
    warning: str | None = Field(description="Which of them lie outside of training; null if none does.")


class Molecules(BaseModel):
    """Generated molecules in the order of their ids."""

    molecules: list[Molecule]
    model: str = Field(description="Name of the checkpoint.")
    diverged: list[int] = Field(
        description="Ids of molecules that are left out because the network has diverged: they have no positions."
    )
    ledger: Ledger | None = Field(None, description="What became of all attempts; null without `accept`.")
    passport: dict[str, Any] | None = Field(
        None, description="How the molecules were made; with it, `ead reproduce` makes any of them again."
    )


class Limits(BaseModel):
    """What the service accepts."""

    max_molecules: int = Field(description="Most molecules in one request.")
    max_network_calls: int = Field(description="Most network calls that the settings may let a molecule take.")
    max_request_calls: int = Field(description="Most network calls that all molecules of a request may take.")
    max_seconds: float = Field(description="Seconds after which a request that is not finished is given up.")
    batch_molecules: int = Field(description="Most molecules of all requests that run at once.")
    max_waiting: int = Field(description="Requests that wait for a replica before further ones get 503.")


class Conditionable(BaseModel):
    """A property that molecules can be asked for."""

    name: str
    unit: str = Field(
        description="Of targets; empty if it is that of the training data, which the model does not know."
    )
    smallest: float = Field(description="What occurred in training.")
    largest: float


class ModelDescription(BaseModel):
    """The model behind the service."""

    name: str
    elements: list[str] = Field(description="Elements it can place.")
    parameters: int = Field(description="Number of weights.")
    sizes: AtomRange = Field(description="What occurred in training.")
    properties: list[Conditionable] = Field(description="What `targets` may ask for; empty if nothing.")
    sampler: dict[str, Any] = Field(description="Sampler settings of a request that gives none.")
    limits: Limits
    card: list[dict[str, Any]] = Field(
        description="Measured quality and cost per sampler setting; empty if the checkpoint was never evaluated."
    )


class Health(BaseModel):
    """State of the service."""

    status: Literal["live", "ready"]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Mistake(BaseModel):
    """What is wrong at one place of a body."""

    type: str = Field(description="A word for programs.")
    loc: list[str | int] = Field(description="The place, from `body` inwards.")
    msg: str = Field(description="A sentence that says what is accepted.")


class Mistakes(BaseModel):
    """Why a body is not accepted."""

    detail: list[Mistake] = Field(max_length=MOST_PROBLEMS)
