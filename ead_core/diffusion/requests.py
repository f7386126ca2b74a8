"""What a caller may ask the sampler for, and the check that it can be made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.config import SamplerConfig
from ead_core.data.priors import SizeRange, draw_sizes, repeat_sizes
from ead_core.diffusion.build import build_process
from ead_core.diffusion.memory import molecules_per_call
from ead_core.diffusion.sampler import Process
from ead_core.errors import ConfigError
from ead_core.noise import MAX_SEED
from ead_core.training.checkpoint import Checkpoint

LARGEST_MOLECULE = 512


@dataclass(frozen=True)
class Request:
    """What one caller wants.

    Attributes:
        num: how many molecules.
        sampler: settings, e.g. from `sampler_config`.
        seed: equal seeds give equal molecules, however they are batched (to rounding).
        first: id of the first molecule; the ids are first … first + num − 1.
        sizes: atoms per molecule, cycled by id, or a range; None draws from the training histogram.
    """

    num: int
    sampler: SamplerConfig
    seed: int = 0
    first: int = 0
    sizes: tuple[int, ...] | SizeRange | None = None

    @property
    def ids(self) -> Tensor:
        """[num] molecule ids."""
        return torch.arange(self.first, self.first + self.num)


def sampler_config(checkpoint: Checkpoint, settings: Mapping[str, object]) -> SamplerConfig:
    """The checkpoint's sampler section with some keys replaced (ConfigError if they are not valid)."""
    return checkpoint.config.override({f"sampler.{key}": value for key, value in settings.items()}).sampler


def prepare(checkpoint: Checkpoint, request: Request) -> tuple[Process, NDArray[np.int64]]:
    """The process that a request describes, and the atoms per molecule [num].

    Raises:
        ConfigError: a number, seed, id or size out of range, settings that do not fit the checkpoint, or a molecule
            too large for the memory budget.
    """
    if not 0 <= request.seed <= MAX_SEED:
        raise ConfigError(f"seed must be between 0 and {MAX_SEED}, not {request.seed}.")
    if request.num < 1:
        raise ConfigError(f"the number of molecules must be at least 1, not {request.num}.")
    if not 0 <= request.first <= MAX_SEED - request.num:
        raise ConfigError(f"molecule ids must be between 0 and {MAX_SEED}, but the first is {request.first}.")
    sizes = choose_sizes(checkpoint, request.seed, request.ids, request.sizes)
    largest = int(sizes.max())
    molecules_per_call(checkpoint.denoiser, largest, request.sampler.memory_budget)
    return build_process(checkpoint, request.sampler, largest), sizes


def of_largest(checkpoint: Checkpoint, request: Request) -> Request:
    """The request for one molecule, of the largest size that requests of this kind may bring."""
    if checkpoint.atom_types.has_dummies:
        return replace(request, num=1)
    known, sizes = checkpoint.statistics.sizes, request.sizes
    if isinstance(sizes, SizeRange):
        sizes = tuple(size for size in known if size <= sizes.largest)
    return replace(request, num=1, sizes=(max(sizes or known),))


def choose_sizes(
    checkpoint: Checkpoint, seed: int, ids: Tensor, sizes: Sequence[int] | SizeRange | None
) -> NDArray[np.int64]:
    """Atoms per molecule [M]: those asked for, or drawn from the training histogram; or slots, if the model decides.

    Raises:
        ConfigError: a size outside 1 … 512, a range without training molecules, or a model that decides by itself.
    """
    if checkpoint.atom_types.has_dummies:
        if sizes is not None:
            raise ConfigError(f"{checkpoint.name} decides sizes by itself (diffusion.size_mode=dummy); give none.")
        return np.full(len(ids), max(checkpoint.statistics.sizes), dtype=np.int64)
    if sizes is None or isinstance(sizes, SizeRange):
        return draw_sizes(checkpoint.statistics, seed, ids, sizes)
    wrong = [n for n in sizes if not 1 <= n <= LARGEST_MOLECULE]
    if wrong or not len(sizes):
        raise ConfigError(f"sizes must be between 1 and {LARGEST_MOLECULE} atoms, not {wrong or 'an empty list'}.")
    return repeat_sizes(sizes, ids)
