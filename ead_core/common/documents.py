"""JSON from outside, read within limits, so that no document can exhaust memory or the stack."""

import json
from pathlib import Path
from typing import Any

from ead_core.common.limits import DEPTH, DOCUMENT, ITEMS, MiB
from ead_core.errors import DataError


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError, ValueError: it cannot be read, or is no JSON; callers say what it should have been.
        DataError: it is larger, or nested deeper, than `limits` allow.
    """
    return parse_json(read_bytes(path, DOCUMENT), str(path))


def parse_json(text: str | bytes, told: str) -> Any:
    """The value of JSON text; errors as of `read_json`, about a document that is called `told`."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise DataError(_too_deep(told)) from error
    _check_shape(value, told)
    return value


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file that should be small (DataError if it has more than `most` bytes, OSError as usual)."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"{path} is larger than {most // MiB} MiB, the most for a file of its kind.")
    return content


def _check_shape(document: Any, told: str) -> None:
    """Raise DataError if values lie deeper than DEPTH, or are more than ITEMS."""
    level, count = [document], 0
    for _ in range(DEPTH + 1):
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return
        count += sum(map(len, level))
        if count > ITEMS:
            raise DataError(f"{told} holds more than {ITEMS:,} values, the most for a document.")
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)]
    raise DataError(_too_deep(told))


def _too_deep(told: str) -> str:
    return f"{told} is nested deeper than {DEPTH} levels, the most for a document."
