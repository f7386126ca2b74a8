"""Generating any number of molecules: requests share batches, and each gets its own molecules back.

A molecule is a function of its seed, id and size and of the sampler's settings, whoever else is in the batch (to
rounding), so requests of different origin may run together.

Legend: M molecules in all; B, N per bucket.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.config import SamplerConfig
from ead_core.data.batching import size_buckets
from ead_core.data.priors import draw_sizes, repeat_sizes
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.build import build_process
from ead_core.diffusion.sampler import Process, SamplerState, decode, finish, initial_state, join
from ead_core.errors import ConfigError
from ead_core.molecules import AtomTypes, size_mask
from ead_core.noise import MAX_SEED
from ead_core.training.checkpoint import Checkpoint

Progress = Callable[[int], None]
LARGEST_MOLECULE = 512


@dataclass(frozen=True)
class Request:
    """What one caller wants.

    Attributes:
        num: how many molecules.
        sampler: settings, e.g. from `sampler_config`.
        seed: equal seeds give equal molecules, however they are batched (to rounding).
        first: id of the first molecule; the ids are first … first + num − 1.
        sizes: atoms per molecule, cycled by id; None draws from the training histogram.
    """

    num: int
    sampler: SamplerConfig
    seed: int = 0
    first: int = 0
    sizes: tuple[int, ...] | None = None

    @property
    def ids(self) -> Tensor:
        """[num] molecule ids."""
        return torch.arange(self.first, self.first + self.num)


@dataclass(frozen=True)
class Generated:
    """Finished molecules of one bucket, in its order.

    Attributes:
        ids: [B] molecule ids.
        charges, positions: lists of arrays [n], [n, 3] in Å.
        nfe: [B] network calls per molecule, decoding included.
        seconds: wall clock per molecule.
    """

    ids: NDArray[np.int64]
    charges: list[NDArray[np.int64]]
    positions: list[NDArray[np.float32]]
    nfe: NDArray[np.int64]
    seconds: float

    def after(self, seconds: float) -> "Generated":
        """The same with `seconds` per molecule spent before."""
        return replace(self, seconds=self.seconds + seconds)


def sample(
    checkpoint: Checkpoint,
    num: int,
    seed: int = 0,
    sizes: Sequence[int] | None = None,
    progress: Progress = lambda done: None,
    first: int = 0,
    **settings: object,
) -> MoleculeSet:
    """Generate molecules.

    Args:
        checkpoint: from `load_checkpoint`.
        num, seed, sizes, first: see `Request`.
        progress: receives the number of molecules finished since its last call.
        settings: keys of the sampler section without their prefix, e.g. `policy="synchronous"`.

    Returns:
        The molecules in the order of their ids, with the properties `id`, `nfe` and `seconds` (wall clock per
        molecule).

    Raises:
        ConfigError: an unknown setting or a value out of range.
    """
    config = sampler_config(checkpoint, settings)
    request = Request(num, config, seed, first, None if sizes is None else tuple(sizes))
    return sample_together(checkpoint, [request], progress)[0]


def sampler_config(checkpoint: Checkpoint, settings: Mapping[str, object]) -> SamplerConfig:
    """The checkpoint's sampler section with some keys replaced (ConfigError if they are not valid)."""
    return checkpoint.config.override({f"sampler.{key}": value for key, value in settings.items()}).sampler


def sample_together(
    checkpoint: Checkpoint, requests: Sequence[Request], progress: Progress = lambda done: None
) -> list[MoleculeSet]:
    """Generate the molecules of many requests; those with equal settings share network calls.

    Returns:
        A set per request, as from `sample`.

    Raises:
        ConfigError: a request that `check_request` refuses.
    """
    sizes = [check_request(checkpoint, request) for request in requests]
    groups: dict[SamplerConfig, list[int]] = {}
    for number, request in enumerate(requests):
        groups.setdefault(request.sampler, []).append(number)
    results: dict[int, MoleculeSet] = {}
    for members in groups.values():
        chosen = [requests[number] for number in members]
        made = _fulfil(checkpoint, chosen, np.concatenate([sizes[number] for number in members]), progress)
        ends = np.cumsum([request.num for request in chosen])
        for number, end in zip(members, ends.tolist(), strict=True):
            results[number] = made.select(range(end - requests[number].num, end))
    return [results[number] for number in range(len(requests))]


def check_request(checkpoint: Checkpoint, request: Request) -> NDArray[np.int64]:
    """Atoms per molecule [num] of a request.

    Raises:
        ConfigError: a number, seed, id or size out of range, or settings that do not fit the checkpoint.
    """
    if not 0 <= request.seed <= MAX_SEED:
        raise ConfigError(f"seed must be between 0 and {MAX_SEED}, not {request.seed}.")
    if request.num < 1:
        raise ConfigError(f"the number of molecules must be at least 1, not {request.num}.")
    if not 0 <= request.first <= MAX_SEED - request.num:
        raise ConfigError(f"molecule ids must be between 0 and {MAX_SEED}, but the first is {request.first}.")
    sizes = choose_sizes(checkpoint, request.seed, request.ids, request.sizes)
    build_process(checkpoint, request.sampler, int(sizes.max()))
    return sizes


def choose_sizes(checkpoint: Checkpoint, seed: int, ids: Tensor, sizes: Sequence[int] | None) -> NDArray[np.int64]:
    """Atoms per molecule [M]: those asked for, or drawn from the training histogram.

    Raises:
        ConfigError: a size outside 1 … 512.
    """
    if sizes is None:
        return draw_sizes(checkpoint.statistics, seed, ids)
    wrong = [n for n in sizes if not 1 <= n <= LARGEST_MOLECULE]
    if wrong or not len(sizes):
        raise ConfigError(f"sizes must be between 1 and {LARGEST_MOLECULE} atoms, not {wrong or 'an empty list'}.")
    return repeat_sizes(sizes, ids)


@torch.inference_mode()
def _fulfil(
    checkpoint: Checkpoint, requests: Sequence[Request], sizes: NDArray[np.int64], progress: Progress
) -> MoleculeSet:
    """The molecules of requests with equal settings, one request after the other, made in common buckets."""
    config = requests[0].sampler
    ids = torch.cat([request.ids for request in requests])
    seeds = torch.cat([torch.full_like(request.ids, request.seed) for request in requests])
    process = build_process(checkpoint, config, int(sizes.max()))
    weight = next(checkpoint.denoiser.parameters())
    buckets = size_buckets(sizes, config.batch_size)
    results = []
    for rows in buckets:
        keys = seeds[rows].to(weight.device), ids[rows].to(weight.device), size_mask(sizes[rows]).to(weight.device)
        state = initial_state(*keys, 3 + checkpoint.atom_types.num_features, process, weight.dtype)
        results.append(complete(state, process, checkpoint.atom_types, progress))
    return assemble(results, np.concatenate(buckets))


@torch.inference_mode()
def complete(
    state: SamplerState, process: Process, atom_types: AtomTypes, progress: Progress = lambda done: None
) -> Generated:
    """Run a bucket from any state to decoded molecules.

    `nfe` counts all calls since the top of the grid, those before `state` included.
    """
    start = time.perf_counter()
    done = []
    for group in finish(state, process):
        done.append(group)
        progress(len(group.ids))
    clean = join(done)
    clean = clean.select(torch.from_numpy(_matching(state, clean)))
    decoded, features = decode(clean, process)
    charges = atom_types.charges(features).cpu().numpy()
    positions = decoded.float().cpu().numpy()
    sizes = clean.mask.sum(dim=1).tolist()
    return Generated(
        ids=clean.ids.cpu().numpy(),
        charges=[charges[row, :n] for row, n in enumerate(sizes)],
        positions=[positions[row, :n] for row, n in enumerate(sizes)],
        nfe=clean.iterations.cpu().numpy() + 1,
        seconds=(time.perf_counter() - start) / len(clean.ids),
    )


def _matching(wanted: SamplerState, found: SamplerState) -> NDArray[np.int64]:
    """Rows of `found` in the order of the molecules of `wanted`; molecules with equal keys are equal."""

    def ranking(state: SamplerState) -> NDArray[np.int64]:
        keys = (state.mask.sum(dim=1), state.ids, state.seeds)
        return np.lexsort([key.cpu().numpy() for key in keys])

    rows = np.empty(len(found.ids), dtype=np.int64)
    rows[ranking(wanted)] = ranking(found)
    return rows


def assemble(results: Sequence[Generated], order: NDArray[np.int64]) -> MoleculeSet:
    """The molecules of all results as one set, sorted by `order`, a number for each of them."""
    joined = MoleculeSet.from_lists(
        [charges for result in results for charges in result.charges],
        [positions for result in results for positions in result.positions],
        {
            "id": np.concatenate([result.ids for result in results]),
            "nfe": np.concatenate([result.nfe for result in results]),
            "seconds": np.concatenate([np.full(len(r.ids), r.seconds) for r in results]),
        },
    )
    return joined.select(np.argsort(order))
