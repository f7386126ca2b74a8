"""JSON from outside, read within limits so that no document can exhaust memory or the stack; versioned documents."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ead_core.common.files import write_aside
from ead_core.common.limits import DEPTH, DOCUMENT, ITEMS, MiB
from ead_core.errors import DataError, VersionError

_TEXT_OR_NUMBERS = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\[\]{}"]*\]')  # a string in JSON, or an array of numbers


def _unpacked(value: Any) -> Any:
    return parse_json(value, "a header") if isinstance(value, str) else value


Packed = BeforeValidator(_unpacked)  # of a field that is a list or a mapping: in a header it is JSON text


class Document(BaseModel):
    """A document that says of which version it is: a JSON object, or the header of a file of arrays.

    Every kind has a field `version`: `version: Literal[1, 2] = Field(2, alias="schema_version")` reads two versions,
    writes the second, and calls the field `schema_version` in the file. A document without the field counts as one of
    the default version; where there always was a version, the field has no default and must be there. Unknown keys are
    passed over, so that a later program may add some.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    kind: ClassVar[str]  # for people, with an article: "an evaluation card"

    version: int | str

    @classmethod
    def parse(cls, stored: Any, name: str) -> Self:
        """The document in a JSON value that people know as `name`.

        Raises:
            VersionError: a version that this program does not read.
            DataError: another kind of document.
        """
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            cls._check_version(stored, name)
            raise DataError(f"{name} is not {cls.kind}{_reason(error)}.") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """The document in a JSON file.

        Raises:
            DataError: as `parse`; also for a file that cannot be read, or that is no JSON.
        """
        try:
            stored = read_json(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not {cls.kind}.") from error
        return cls.parse(stored, str(path))

    def save(self, path: Path) -> None:
        """Write the document as a JSON file (OutputError if it cannot be written)."""
        with write_aside(path) as aside:
            aside.write_text(_as_text(self.to_json()) + "\n", encoding="utf-8")

    def to_texts(self) -> dict[str, str]:
        """The document as a header, whose values are all text; what is no text is JSON (see `Packed`)."""
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in self.to_json().items()}

    def to_json(self) -> dict[str, Any]:
        """The document as plain values; what was not set, such as a figure nobody measured, is left out."""
        key = type(self).model_fields["version"].alias or "version"
        return {key: self.version, **self.model_dump(mode="json", by_alias=True, exclude_unset=True)}

    @classmethod
    def _check_version(cls, stored: Any, name: str) -> None:
        field = cls.model_fields["version"]
        key, readable = field.alias or "version", get_args(field.annotation)
        if isinstance(stored, Mapping) and key in stored and stored[key] not in readable:
            known = " and ".join(map(str, readable))
            raise VersionError(f"{name} is {cls.kind} of version {stored[key]}; this program reads {known}.")


def _as_text(value: Any) -> str:
    """JSON of a line for each value, but for arrays of numbers, which take one: some have thousands."""
    return _TEXT_OR_NUMBERS.sub(_in_one_line, json.dumps(value, indent=1))


def _in_one_line(found: re.Match[str]) -> str:
    text = found[0]
    return text if text.startswith('"') else f"[{' '.join(text[1:-1].split())}]"


def _reason(error: ValidationError) -> str:
    """The first thing that is wrong, in brackets; nothing where the document is no mapping at all."""
    first = error.errors()[0]
    where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    if where:
        return f" ({where}: {what})"
    return f" ({what})" if first["type"] == "value_error" else ""


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
