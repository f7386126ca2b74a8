"""Safetensors files that carry their own checksum, so that a flipped or missing byte is noticed.

The checksum is the SHA-256 of the whole file with 64 zeros in its own place, which is in the file's metadata. Any
reader of safetensors opens such a file; files without a checksum, as other programs write them, are read as they are.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ead_core.common.files import write_aside
from ead_core.errors import DamagedFileError, one_line

KIND, CHECKSUM = "checksum", "sha256"
_EMPTY = b"0" * 64
_SEAL = re.compile(rb'"' + CHECKSUM.encode() + rb'":"([0-9a-f]{64})"')


def seal(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file with a checksum of itself."""
    marks = {**metadata, KIND: CHECKSUM, CHECKSUM: _EMPTY.decode()}
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=marks)
    found = _found(content)
    assert found is not None  # it has just been written
    return content[: found.start(1)] + _digest(content, found) + content[found.end(1) :]


def write_sealed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with a checksum (OutputError if it cannot be written)."""
    with write_aside(path) as aside:
        aside.write_bytes(seal(tensors, metadata))


def read_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, after comparing its checksum if it has one.

    Raises:
        DamagedFileError: it is cut, altered, or no safetensors file.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    found = _found(content)
    if found and found[1] != _digest(content, found):
        raise DamagedFileError(f"{path} is damaged: its content does not match its checksum.")
    try:
        tensors = load(content)
        metadata = json.loads(_header(content)).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise DamagedFileError(f"{path} is damaged: {one_line(error)}.") from error
    if KIND in metadata and found is None:
        raise DamagedFileError(f"{path} is damaged: its checksum is missing.")
    return tensors, {key: value for key, value in metadata.items() if key not in (KIND, CHECKSUM)}


def _header(content: bytes) -> bytes:
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def _found(content: bytes) -> re.Match[bytes] | None:
    """Where the checksum stands in a file's content."""
    return _SEAL.search(content, 8, 8 + len(_header(content)))


def _digest(content: bytes, found: re.Match[bytes]) -> bytes:
    """The checksum that a content should have, whatever stands in its place."""
    digest = hashlib.sha256(memoryview(content)[: found.start(1)])
    digest.update(_EMPTY)
    digest.update(memoryview(content)[found.end(1) :])
    return digest.hexdigest().encode()
