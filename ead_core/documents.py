"""JSON and YAML from outside: read within limits, so that no document can exhaust memory or the stack."""

import json
from pathlib import Path
from typing import Any

import yaml

from ead_core.errors import ConfigError, DataError, one_line
from ead_core.limits import ALIASES, DEPTH, DOCUMENT, ITEMS, RECIPE, RECIPE_ITEMS, MiB


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError, ValueError: it cannot be read, or is no JSON; callers say what it should have been.
        DataError: it is larger or nested deeper than `limits` allow.
    """
    return parse_json(_content(path, DOCUMENT), str(path))


def parse_json(text: str | bytes, told: str) -> Any:
    """The value of JSON text; errors as of `read_json`, about a document that is called `told`."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise DataError(_too_deep(told)) from error
    _check_shape(value, ITEMS, told)
    return value


def parse_yaml(text: str | bytes, told: str) -> Any:
    """The value of YAML text.

    Raises:
        ConfigError: no YAML, or larger, nested deeper or with more aliases than `limits` allow.
    """
    try:
        if len(text) > RECIPE:
            raise DataError(f"{told} is larger than {RECIPE // MiB} MiB, the most for YAML.")
        value = yaml.load(text, _Loader)
        _check_shape(value, RECIPE_ITEMS, told)
    except DataError as error:
        raise ConfigError(str(error)) from error
    except RecursionError as error:
        raise ConfigError(_too_deep(told)) from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # the latter of dates and numbers that cannot be
        raise ConfigError(f"{told} is not valid YAML ({one_line(error)}).") from error
    return value


def read_yaml(path: Path) -> Any:
    """The value in a YAML file.

    Raises:
        OSError: it cannot be read.
        ConfigError: as of `parse_yaml`.
    """
    return parse_yaml(_content(path, RECIPE), str(path))


class _Loader(yaml.SafeLoader):
    """A safe loader that takes few aliases, because aliases of aliases multiply."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML, counting."""
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > ALIASES:
                raise yaml.YAMLError(f"more than {ALIASES} aliases, the most that are filled in")
        return super().compose_node(parent, index)


def _content(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"{path} is larger than {most // MiB} MiB, the most for a file of its kind.")
    return content


def _check_shape(document: Any, most: int, told: str) -> None:
    """Raise DataError if values lie deeper than DEPTH, or are more than `most`."""
    level, count = [document], 1
    for _ in range(DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict | list | set | tuple):
                inner.extend(value.values() if isinstance(value, dict) else value)
            if count + len(inner) > most:
                raise DataError(f"{told} holds more than {most:,} values, the most for a document of its kind.")
        if not inner:
            return
        level, count = inner, count + len(inner)
    raise DataError(_too_deep(told))


def _too_deep(told: str) -> str:
    return f"{told} is nested deeper than {DEPTH} levels, the most for a document."
