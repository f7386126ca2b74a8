"""Recording a trace while the engine samples.

Legend: B molecules, N padded atoms.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import DUMMY, AtomTypes
from ead_core.errors import ConfigError
from ead_core.sampling.micro_batches import MicroBatch
from ead_core.sampling.requests import Prepared
from ead_core.sampling.state import SamplerState
from ead_core.traces.trace import MoleculeTrace, Trace

MOST_TRACED = 64  # molecules; of QM9's size each takes half a megabyte
UNCHANGED = {"temperature": 1, "start": 1, "corrector": 0}  # settings that a title names where they are others

Frame = tuple[NDArray[Any], ...]  # levels, velocities, positions and atomic numbers of N atoms


class Recorder:
    """An engine's observer that keeps all states of the molecules of one request.

    It copies what it sees and changes nothing. On a GPU the host waits for every call.

    Args:
        atom_types: of the model.
    """

    def __init__(self, atom_types: AtomTypes) -> None:
        self._atom_types = atom_types
        self._frames: dict[int, list[Frame]] = {}

    def __call__(self, micro_batch: MicroBatch, after: SamplerState) -> None:
        """Take in one move of the molecules of a micro-batch."""
        grid, sizes, ids = micro_batch.process.grid, micro_batch.labels["size"].tolist(), after.ids.tolist()
        if not all(number in self._frames for number in ids):
            first = self._arrays(grid, micro_batch.state)
            for row, (number, size) in enumerate(zip(ids, sizes, strict=True)):
                self._frames.setdefault(number, [tuple(array[row, :size] for array in first)])
        moved = self._arrays(grid, after)
        for row, (number, size) in enumerate(zip(ids, sizes, strict=True)):
            self._frames[number].append(tuple(array[row, :size] for array in moved))

    def trace(self, molecules: MoleculeSet, title: str) -> Trace:
        """What has been recorded, each molecule ending as it was decoded.

        Args:
            molecules: those of the request, with their ids.
            title: of the trace.
        """
        return Trace(title, tuple(self._join(molecules, index) for index in range(len(molecules))))

    def _join(self, molecules: MoleculeSet, index: int) -> MoleculeTrace:
        number = int(molecules.properties["id"][index])
        charges, positions = molecules.molecule(index)
        levels, velocities, noisy, elements = self._frames[number][-1]
        place = np.flatnonzero(elements != DUMMY)  # the molecule lacks the empty slots of a model with dummies
        decoded = noisy.copy()
        if len(place) == len(charges):
            decoded[place] = positions
        last = (np.zeros_like(levels), np.zeros_like(velocities), decoded, elements)
        return MoleculeTrace(number, *(np.stack(arrays) for arrays in zip(*self._frames[number], last, strict=True)))

    def _arrays(self, grid: Tensor, state: SamplerState) -> Frame:
        """Copies on the host, [B, N, …] each."""
        charges = self._atom_types.charges(state.z[..., 3:])
        return (
            _copied(grid[state.grid_index], torch.int32),
            _copied(state.velocities[..., -1], torch.float32),
            _copied(state.z[..., :3], torch.float32),
            _copied(charges, torch.uint8),
        )


def _copied(tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """An array of its own: a view would keep the whole state of the molecules in memory."""
    return tensor.to("cpu", dtype, copy=True, memory_format=torch.contiguous_format).numpy()


def check_traceable(num: int) -> None:
    """ConfigError for more molecules than a trace may have."""
    if num > MOST_TRACED:
        raise ConfigError(f"at most {MOST_TRACED} molecules can be traced at once, not {num}.")


def describe(checkpoint: str, prepared: Prepared) -> str:
    """Checkpoint and settings in words, as the title of a trace."""
    request, policy = prepared.request, prepared.process.policy
    pauses = policy.branch_index(len(prepared.process.grid) - 1) > 0 and not policy.waits
    settings = [f"pause_mode {request.sampler.pause_mode}"] if pauses else []
    given = {key: getattr(request.sampler, key) for key in UNCHANGED}
    settings += [f"{key} {value:g}" for key, value in given.items() if value != UNCHANGED[key]]
    return " · ".join([checkpoint, f"seed {request.seed}", policy.label(), *settings])
