"""The synchronous prefix that all asynchronous settings share for equal seeds, computed once.

Above the branch level every policy advances every atom, so the run is the same to the bit. States are kept at each
branch level; a trial continues from there and inherits the cost of the way.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from ead_core.common.documents import Document, Packed
from ead_core.common.sealed import read_sealed, write_sealed
from ead_core.diffusion.process import Process
from ead_core.errors import DamagedFileError, DataError, one_line
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import SamplerState


class PrefixHeader(Document):
    """The seconds per molecule to each branch level, by its index in the grid."""

    kind: ClassVar[str] = "a stored prefix"

    version: Literal["ead-prefix-1"] = Field("ead-prefix-1", alias="format")
    seconds: Annotated[dict[int, float], Packed]


@dataclass(frozen=True)
class Branch:
    """A bucket at a branch level and the wall clock per molecule spent to get there."""

    state: SamplerState
    seconds: float


@torch.inference_mode()
def run_prefix(state: SamplerState, process: Process, indices: Collection[int]) -> dict[int, Branch]:
    """Run a bucket synchronously from `state` to clean, keeping its state at each of `indices`.

    Args:
        state: from `initial_state`.
        process: its policy must be `Synchronous`.
        indices: positions of the grid, 0 = clean.
    """
    start = time.perf_counter()
    top = len(process.grid) - 1
    branches = {top: Branch(state, 0.0)} if top in indices else {}
    for now in trajectory(state, process):
        index = int(now.grid_index.max())
        if index in indices and index not in branches:  # where the corrector makes rounds, it is met again
            branches[index] = Branch(now, (time.perf_counter() - start) / len(now.ids))
    return branches


def save_branches(path: Path, branches: Mapping[int, Branch]) -> None:
    """Store the branches of one bucket in a safetensors file."""
    tensors = {
        f"{index}.{name}": tensor.clone()
        for index, branch in branches.items()
        for name, tensor in vars(branch.state).items()
    }
    header = PrefixHeader(seconds={index: branch.seconds for index, branch in branches.items()})
    write_sealed(path, tensors, header.to_texts())


def load_branches(path: Path) -> dict[int, Branch]:
    """Read what `save_branches` wrote (DataError if it cannot be)."""
    try:
        tensors, metadata = read_sealed(path)
    except (OSError, DamagedFileError) as error:
        raise DataError(f"stored prefix {path} cannot be read ({one_line(error)}); delete it.") from error
    stored = metadata if "format" in metadata else {"seconds": metadata}  # the first form had nothing but the seconds
    try:
        header = PrefixHeader.parse(stored, str(path))
    except DataError as error:
        raise DataError(f"{one_line(error)}; delete it.") from error
    branches = {}
    for index, seconds in header.seconds.items():
        names = [key.removeprefix(f"{index}.") for key in tensors if key.startswith(f"{index}.")]
        try:
            state = SamplerState(**{name: tensors[f"{index}.{name}"] for name in names})
        except TypeError as error:
            raise DataError(f"stored prefix {path} is of another version of this program; delete it.") from error
        branches[index] = Branch(state, seconds)
    return branches
