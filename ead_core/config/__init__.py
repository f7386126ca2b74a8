"""One recipe, one validated configuration: frozen sections, YAML files, and flat dotted overrides.

The same dotted keys are used by the command line (`key=value`), Tune's search space, MLflow's parameters and
the checkpoint.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from ead_core.common.documents import read_bytes
from ead_core.common.limits import RECIPE
from ead_core.common.strict_yaml import parse_yaml
from ead_core.config.sections import (
    ConditioningConfig,
    DataConfig,
    DiffusionConfig,
    NetworkConfig,
    SamplerConfig,
    Section,
    TrainingConfig,
)
from ead_core.errors import ConfigError, one_line

__all__ = [
    "ConditioningConfig",
    "Config",
    "DataConfig",
    "DiffusionConfig",
    "NetworkConfig",
    "SamplerConfig",
    "sampler_settings",
    "Section",
    "TrainingConfig",
    "load_config",
    "parse_overrides",
    "read_mapping",
    "unknown_key",
    "validate",
]

OUTER_SECTIONS = {"platform", "promotion"}  # of a recipe, with which the science has nothing to do


class Config(Section):
    """A complete recipe."""

    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    training: TrainingConfig = TrainingConfig()
    conditioning: ConditioningConfig = ConditioningConfig()
    sampler: SamplerConfig = SamplerConfig()

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        if self.training.fragments and self.diffusion.size_mode == "dummy":
            raise ValueError("training.fragments must be 0 with diffusion.size_mode=dummy")
        if self.training.objective == "predict":
            if not self.conditioning.properties:
                raise ValueError("training.objective=predict needs conditioning.properties, which are to be predicted")
            if self.training.initial is not None or self.diffusion.size_mode == "dummy":
                raise ValueError("training.objective=predict takes neither training.initial nor dummies")
        return self

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
        DataError: it is larger than `limits.RECIPE`.
    """
    try:
        read = parse_yaml(read_bytes(path, RECIPE))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
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
            changes[key.strip()] = parse_yaml(value)
        except ValueError as error:
            raise ConfigError(f"the value of override '{item}' cannot be read ({one_line(error)}).") from error
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


def sampler_settings(overrides: Mapping[str, object]) -> dict[str, Any]:
    """Settings of the sampler section without their prefix (ConfigError for a key of another section)."""
    settings = {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        if section != "sampler":
            near = difflib.get_close_matches(name or section, SamplerConfig.model_fields, n=1)
            hint = f"; did you mean sampler.{near[0]}?" if near else "."
            raise ConfigError(f"only sampler.* keys can be changed when sampling, not '{key}'{hint}")
        settings[name] = value
    return settings


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
