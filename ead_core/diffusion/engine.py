"""Generating any number of molecules: sizes, buckets of equal size, and results in the order of their ids.

Legend: M molecules in all; B, N per bucket.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
class Generated:
    """Finished molecules of one bucket.

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
    **settings: object,
) -> MoleculeSet:
    """Generate molecules.

    Args:
        checkpoint: from `load_checkpoint`.
        num: M.
        seed: equal seeds give equal molecules, however they are batched (to rounding).
        sizes: atoms per molecule, repeated cyclically; default: drawn from the training histogram.
        progress: receives the number of molecules finished since its last call.
        settings: keys of the sampler section without their prefix, e.g. `policy="synchronous"`.

    Returns:
        Molecules 0 … num − 1 with the properties `id`, `nfe` and `seconds` (wall clock per molecule).

    Raises:
        ConfigError: an unknown setting or a value out of range.
    """
    config = checkpoint.config.override({f"sampler.{key}": value for key, value in settings.items()}).sampler
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must be between 0 and {MAX_SEED}, not {seed}.")
    if num < 1:
        raise ConfigError(f"the number of molecules must be at least 1, not {num}.")
    ids = torch.arange(num)
    chosen = choose_sizes(checkpoint, seed, ids, sizes)
    process = build_process(checkpoint, config, seed, int(chosen.max()))
    buckets = size_buckets(chosen, config.batch_size)
    return assemble(generate(process, checkpoint.atom_types, ids, chosen, buckets, progress))


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
    return repeat_sizes(sizes, len(ids))


@torch.inference_mode()
def generate(
    process: Process,
    atom_types: AtomTypes,
    ids: Tensor,
    sizes: NDArray[np.int64],
    buckets: Iterable[NDArray[np.int64]],
    progress: Progress = lambda done: None,
) -> list[Generated]:
    """Run every bucket from noise to molecules; arguments as made by `sample`."""
    results = []
    device = process.grid.device
    for bucket in buckets:
        mask = size_mask(sizes[bucket]).to(device)
        state = initial_state(ids[bucket].to(device), mask, 3 + atom_types.num_features, process)
        results.append(complete(state, process, atom_types, progress))
    return results


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
    decoded, features = decode(clean, process)
    charges = atom_types.charges(features).cpu().numpy()
    positions = decoded.float().cpu().numpy()
    sizes = clean.mask.sum(dim=1).tolist()
    return Generated(
        ids=clean.ids.cpu().numpy(),
        charges=[charges[row, :n] for row, n in enumerate(sizes)],
        positions=[positions[row, :n] for row, n in enumerate(sizes)],
        nfe=np.concatenate([np.full(len(group.ids), group.iteration + 1) for group in done]),
        seconds=(time.perf_counter() - start) / len(clean.ids),
    )


def assemble(results: Sequence[Generated]) -> MoleculeSet:
    """All molecules in the order of their ids."""
    ids = np.concatenate([result.ids for result in results])
    joined = MoleculeSet.from_lists(
        [charges for result in results for charges in result.charges],
        [positions for result in results for positions in result.positions],
        {
            "id": ids,
            "nfe": np.concatenate([result.nfe for result in results]),
            "seconds": np.concatenate([np.full(len(r.ids), r.seconds) for r in results]),
        },
    )
    return joined.select(np.argsort(ids))
