"""One recipe, one validated configuration: frozen sections, YAML files, and flat dotted overrides.

The same dotted keys are used by the command line (`key=value`), Tune's search space, MLflow's parameters and
the checkpoint. What each key means stands on its field (sections.py, sampler_section.py).
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ead_core.common.documents import read_bytes
from ead_core.common.limits import RECIPE
from ead_core.common.strict_yaml import parse_yaml
from ead_core.config.conditions import as_yaml
from ead_core.config.objectives import DEMANDS
from ead_core.config.reference import entries
from ead_core.config.sampler_section import SamplerConfig
from ead_core.config.sections import (
    GENERATOR,
    ConditioningConfig,
    DataConfig,
    DiffusionConfig,
    NetworkConfig,
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
    "Section",
    "TrainingConfig",
    "load_config",
    "parse_overrides",
    "read_mapping",
    "sampler_settings",
    "unknown_key",
    "validate",
]

OUTER_SECTIONS = {"platform", "promotion"}  # of a recipe, with which the science has nothing to do


class Config(Section):
    """A complete recipe."""

    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    diffusion: Annotated[DiffusionConfig, GENERATOR] = DiffusionConfig()
    training: TrainingConfig = TrainingConfig()
    conditioning: ConditioningConfig = ConditioningConfig()
    sampler: Annotated[SamplerConfig, GENERATOR] = SamplerConfig()

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        if self.training.fragments and self.diffusion.size_mode == "dummy":
            raise ValueError("training.fragments must be 0 with diffusion.size_mode=dummy")
        if self.network.self_conditioning and self.training.fragments and self.training.xbar == "buffer":
            raise ValueError("training.fragments must be 0 with training.xbar=buffer, whose molecules have one frame")
        if self.network.self_conditioning and self.training.patience and self.training.xbar == "buffer":
            raise ValueError("training.patience must be null with training.xbar=buffer, which knows no other molecules")
        if demands := DEMANDS.get(self.training.objective):
            for unmet in demands(self):
                raise ValueError(unmet)
        return self

    @classmethod
    def load(cls, path: Path | str, overrides: Iterable[str] = ()) -> Self:
        """Read a YAML recipe and apply `key=value` overrides.

        A section of `OUTER_SECTIONS` is left to the subclass that knows it. Keys of the file that differ from their
        default must have an effect with the others of the file, except in the sampler section, whose values are
        also the defaults of requests with other settings; overrides must have one in any section.

        Raises:
            ConfigError: missing or malformed file, unknown key, a value outside its range, or one without effect.
        """
        content = read_mapping(Path(path), "sections such as `data:` and `network:`")
        for section in OUTER_SECTIONS - cls.model_fields.keys():
            content.pop(section, None)
        stored: Self = validate(cls, content)
        known = entries(cls)
        stored.refuse_idle(
            key
            for key, value in stored.flat().items()
            if value != known[key].default and known[key].section != "sampler"
        )
        changes = parse_overrides(overrides)
        recipe = stored.override(changes)
        recipe.refuse_idle(changes)
        return recipe

    @property
    def labels_seen(self) -> tuple[str, int]:
        """Which labels a run may know: its half, and the seed of the halves, 0 where it may know all."""
        half = self.conditioning.half
        return half, 0 if half == "all" else self.data.split_seed

    def flat(self) -> dict[str, Any]:
        """All values under dotted keys, e.g. `sampler.async_ratio`."""
        return {
            f"{section}.{key}": value for section, values in self.model_dump().items() for key, value in values.items()
        }

    def override(self, changes: Mapping[str, Any]) -> Self:
        """A validated copy with dotted keys replaced; keys without effect are kept, since other changes may follow.

        Raises:
            ConfigError: unknown key or a value outside its range.
        """
        sections: dict[str, dict[str, Any]] = {}
        known = entries(type(self))
        for key, value in changes.items():
            if key not in known:
                raise ConfigError(unknown_key(key, known))
            sections.setdefault(known[key].section, {})[known[key].name] = value
        return self.revised(sections)

    def revised(self, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        """A validated copy with keys of sections replaced (ConfigError as of `override`)."""
        nested = self.model_dump()
        for section, values in sections.items():
            nested[section] |= values
        changed: Self = validate(type(self), nested)
        return changed

    def sampling(self, settings: Mapping[str, Any]) -> SamplerConfig:
        """The sampler section with the settings of a request, under keys without prefix.

        Raises:
            ConfigError: unknown key, a value outside its range, or one that has no effect with the others.
        """
        changed = self.revised({"sampler": settings})
        changed.refuse_idle(f"sampler.{name}" for name in settings)
        return changed.sampler

    def refuse_idle(self, keys: Iterable[str]) -> None:
        """ConfigError for the first of these keys that has no effect with the values of the others."""
        values, known = self.flat(), entries(type(self))
        for key in keys:
            if failed := known[key].unmet(values):
                now = f"{failed.key}={as_yaml(values[failed.key])}"
                raise ConfigError(f"{key} has no effect with {now}; it needs {failed}.")

    def in_effect(self, section: str) -> dict[str, Any]:
        """The values of a section that have an effect with the others, by key without prefix."""
        values = self.flat()
        return {
            entry.name: values[entry.key]
            for entry in entries(type(self)).values()
            if entry.section == section and not entry.unmet(values)
        }


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


def validate(model: type[BaseModel], content: Mapping[str, Any]) -> Any:
    """Build a section from a dictionary, turning pydantic's report into one line (ConfigError)."""
    try:
        return model(**content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or model.__name__
        if first["type"] == "extra_forbidden":
            raise ConfigError(unknown_key(key, [*model.model_fields, *entries(model)])) from error
        given = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
        raise ConfigError(f"{key}: {_reason(first['msg'])}{given}.{_explained(model, first)}") from error
    except TypeError as error:
        raise ConfigError(f"{model.__name__}: section names must be words ({error}).") from error


def _explained(model: type[BaseModel], error: ErrorDetails) -> str:
    """What the key of an error accepts, as far as the error does not say it, and what the key means."""
    places = [".".join(map(str, error["loc"][:depth])) for depth in (1, 2)]
    entry = next((entries(model)[place] for place in places if place in entries(model)), None)
    if entry is None or not entry.meaning or error["type"] == "value_error":
        return ""
    accepted = "" if error["type"] == "literal_error" else f" Accepted: {entry.accepted}."
    return f"{accepted} Meaning: {entry.summary}"


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


def _reason(message: str) -> str:
    """Pydantic's message as the rest of our sentence: 'must be less than or equal to 1'."""
    message = message.removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("Field required", "is required")
