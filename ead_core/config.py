"""One recipe, one validated configuration: frozen sections, YAML files, and flat dotted overrides.

The same dotted keys are used by the command line (`key=value`), Tune's search space, MLflow's parameters and
the checkpoint.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ead_core.errors import ConfigError, one_line

OUTER_SECTIONS = {"platform"}  # of a recipe, with which the science has nothing to do


class Section(BaseModel):
    """Base of every section: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Which molecules to learn from. A relative `path` is looked up in $EAD_DATA, then in the working folder."""

    path: str
    split: Literal["auto", "published", "seeded"] = "auto"
    split_seed: int = Field(0, ge=0)


class NetworkConfig(Section):
    """`egnn` is EDM's network, `egnn_rbf` a better conditioned variant, `egnn_vector` one that passes vectors.

    The variants use `edge_features` and `vectors`.
    """

    kind: Literal["egnn", "egnn_rbf", "egnn_vector"] = "egnn_rbf"
    hidden_features: int = Field(128, ge=1, le=4096)
    layers: int = Field(6, ge=1, le=64)
    edge_features: int = Field(64, ge=1, le=4096)
    vectors: int = Field(8, ge=1, le=256)


class DiffusionConfig(Section):
    """The forward process: T `steps`, and how far atoms' levels spread in training (EAD Algorithm 1).

    `interval` is C [ASSUMPTION: 29, the largest QM9 molecule]; 0 trains plain EDM. `gauge` is explained in
    diffusion/gauge.py. With `size_mode=dummy` every molecule has as many slots as the largest one of the data; what is
    no atom is a dummy, and the model decides by itself. `dummy_rule` is explained in diffusion/corruption.py.
    """

    steps: int = Field(1000, ge=1, le=100_000)
    precision: float = Field(1e-5, gt=0, lt=0.5)
    interval: int = Field(29, ge=0)
    offset_mode: Literal["uniform", "scaled"] = "uniform"
    gauge: Literal["z", "y"] = "z"
    size_mode: Literal["histogram", "dummy"] = "histogram"
    dummy_rule: Literal["half", "upper", "top", "late"] = "half"

    @model_validator(mode="after")
    def _interval_fits(self) -> "DiffusionConfig":
        if self.interval > self.steps:
            raise ValueError(f"interval ({self.interval}) must not exceed steps ({self.steps})")
        return self


class TrainingConfig(Section):
    """The optimisation. `steps` counts optimiser steps; `max_seconds` ends a sitting early, resumable.

    The learning rate warms up, stays, and falls to zero over the last `decay_fraction` of `steps`. `initial` names
    a checkpoint whose weights a new run starts from. `batch_size` counts the molecules of all workers together.
    Levels are drawn as T u^level_power: above 1, low ones more often. `precision` is explained in precision.py.
    """

    initial: str | None = None
    steps: int = Field(20_000, ge=1)
    max_seconds: float | None = Field(None, gt=0)
    batch_size: int = Field(64, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    muon_learning_rate: float = Field(0.012, gt=0)
    warmup_steps: int = Field(200, ge=0)
    decay_fraction: float = Field(0.2, ge=0, le=1)
    weight_decay: float = Field(1e-12, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    level_power: float = Field(1.0, ge=0.2, le=5)
    ema_decay: float = Field(0.9995, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    checkpoint_seconds: float = Field(300, gt=0)
    evaluate_every: int = Field(5000, ge=1)
    evaluate_molecules: int = Field(64, ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    threads: int | None = Field(None, ge=1)


Rate = Annotated[float, Field(gt=0, le=1)]


class SamplerConfig(Section):
    """Who is denoised when (EAD Algorithm 2).

    `async_ratio` is the share of the levels, from the clean end, that is denoised asynchronously (1 − λ of the
    paper); `interval` the largest spread of levels within a molecule (default: the training interval);
    `solver` makes the moves: `ancestral` draws from the posterior, `ddim` follows the deterministic flow;
    `dpmpp_2m_sde` and `dpmpp_2m` are their forms of second order. `grid` says how `steps` < T are spread over the
    levels: evenly, or denser near the clean end.
    An atom advances while its `velocity` (velocity.py) passes the `convergence` test (convergence.py).
    `decision` says whether a velocity with the noise of the very move under decision counts (`own_noise`, the paper's
    literal reading) or only earlier ones (`previous`). The policy `random` is a control: atoms, or `together` whole
    molecules, advance with probability `advance_rate`, one for all rungs or a list from rung 1 upwards. `batch_size`
    molecules run at once, in network calls that hold at most `memory_budget` GiB beyond the model, and are computed in
    `precision` (precision.py).
    """

    policy: Literal["synchronous", "manual", "adaptive", "random"] = "adaptive"
    solver: Literal["ancestral", "ddim", "dpmpp_2m", "dpmpp_2m_sde"] = "ancestral"
    async_ratio: float = Field(0.2, ge=0, le=1)
    history_window: int = Field(2, ge=1, le=10)
    pause_mode: Literal["repeat", "renoise", "hold"] = "repeat"
    velocity: Literal["z", "mean", "x0"] = "z"
    convergence: Literal["strict", "mean", "slope", "ema"] = "strict"
    decision: Literal["own_noise", "previous"] = "own_noise"
    interval: int | None = Field(None, ge=1, le=100_000)
    max_pauses: int = Field(10, ge=1, le=10_000)
    group_size: int = Field(5, ge=1, le=10_000)
    lag: int = Field(1, ge=0, le=10_000)
    advance_rate: tuple[Rate, ...] = Field((0.7,), min_length=1)
    together: bool = False
    steps: int | None = Field(None, ge=1, le=100_000)
    grid: Literal["even", "quadratic"] = "even"
    batch_size: int = Field(64, ge=1)
    memory_budget: float = Field(2.0, gt=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @field_validator("advance_rate", mode="before")
    @classmethod
    def _one_or_many(cls, rates: object) -> object:
        return tuple(rates) if isinstance(rates, list | tuple) else (rates,)


class Config(Section):
    """A complete recipe."""

    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    training: TrainingConfig = TrainingConfig()
    sampler: SamplerConfig = SamplerConfig()

    @classmethod
    def load(cls, path: Path | str, overrides: Iterable[str] = ()) -> Self:
        """Read a YAML recipe and apply `key=value` overrides.

        A section of `OUTER_SECTIONS` is left to the subclass that knows it.

        Raises:
            ConfigError: missing or malformed file, unknown key, or a value outside its range.
        """
        content = read_mapping(Path(path), "sections such as `data:` and `network:`")
        for section in OUTER_SECTIONS - cls.model_fields.keys():
            content.pop(section, None)
        recipe: Self = validate(cls, content)
        return recipe.override(parse_overrides(overrides))

    def flat(self) -> dict[str, Any]:
        """All values under dotted keys, e.g. `sampler.async_ratio`."""
        return {
            f"{section}.{key}": value for section, values in self.model_dump().items() for key, value in values.items()
        }

    def override(self, changes: Mapping[str, Any]) -> Self:
        """A validated copy with dotted keys replaced.

        Raises:
            ConfigError: unknown key or a value outside its range.
        """
        nested = self.model_dump()
        known = self.flat()
        for key, value in changes.items():
            if key not in known:
                raise ConfigError(unknown_key(key, known))
            section, name = key.split(".", 1)
            nested[section][name] = value
        changed: Self = validate(type(self), nested)
        return changed


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML recipe and apply `key=value` overrides; see `Config.load`."""
    return Config.load(path, overrides)


def read_mapping(path: Path, content: str) -> dict[str, Any]:
    """The mapping in a YAML file; `content` says in the error what it should hold.

    Raises:
        ConfigError: missing, unreadable, malformed, or no mapping.
    """
    try:
        read = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML ({one_line(error)}).") from error
    if not isinstance(read, dict):
        raise ConfigError(f"{path} must hold {content}.")
    return {str(key): value for key, value in read.items()}


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Turn `["sampler.async_ratio=0.4"]` into a dictionary; values are read as YAML.

    Raises:
        ConfigError: an item without `=`.
    """
    changes: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"override '{item}' must have the form key=value, e.g. sampler.async_ratio=0.4.")
        try:
            changes[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of override '{item}' cannot be read.") from error
    return changes


def validate(model: type[Any], content: Mapping[str, Any]) -> Any:
    """Build a section from a dictionary, turning pydantic's report into one sentence (ConfigError)."""
    try:
        return model(**content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or model.__name__
        if first["type"] == "extra_forbidden":
            raise ConfigError(unknown_key(key, _keys(model))) from error
        given = "" if first["type"] == "missing" else f", not {first['input']!r}"
        if first["type"] == "value_error":
            given = ""
        raise ConfigError(f"{key}: {_reason(first['msg'])}{given}.") from error
    except TypeError as error:
        raise ConfigError(f"{model.__name__}: section names must be words ({error}).") from error


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist, with the nearest one that does."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}."
    return f"unknown configuration key '{key}'; {hint}"


def _keys(model: type[BaseModel]) -> list[str]:
    keys = []
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += [name, *(f"{name}.{key}" for key in inner.model_fields)]
        else:
            keys.append(name)
    return keys


def _reason(message: str) -> str:
    """Pydantic's message as the rest of our sentence: 'must be less than or equal to 1'."""
    message = message.removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("Field required", "is required")
