"""The work of `schedules.py`, bucket by bucket: what is finished is a file, and is not done again."""

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ead_platform.sweep.study import Bucket, Campaign, prefix_of
from numpy.typing import NDArray
from schedules_observed import Observed, joined
from schedules_rows import RATIO, Row
from torch import Tensor

from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.files import write_aside
from ead_core.data.batching import size_buckets
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.diffusion.posterior import Solver
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import Coefficients, NoiseSchedule
from ead_core.sampling.generation import complete
from ead_core.sampling.prefix import Branch, load_branches, save_branches

Rows = NDArray[np.int64]


def work_off(name: str, tasks: Mapping[Path, tuple[Callable[[], None], int]], cores: int) -> None:
    """Do the tasks whose file is missing, one after the other or in several processes; each is of some molecules."""
    missing = {path: task for path, task in tasks.items() if not path.is_file()}
    total = sum(size for _, size in tasks.values())
    with progress_bar(name, total) as progress:
        progress(total - sum(size for _, size in missing.values()))
        if cores == 1:
            for work, size in missing.values():
                work()
                progress(size)
            return
        with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
            running = {pool.submit(work): size for work, size in reversed(missing.values())}  # the largest first
            for done in as_completed(running):
                done.result()
                progress(running[done])


def shared_prefix(campaign: Campaign, indices: set[int], folder: Path, cores: int) -> Mapping[Path, Rows]:
    """The ids of every bucket by its file, with the states at `indices` of the grid; 0 is the synchronous end."""
    kept = folder / "-".join([campaign.fingerprint, *map(str, sorted(indices))])
    kept.mkdir(parents=True, exist_ok=True)
    buckets = size_buckets(campaign.sizes, campaign.molecules_per_call)
    files = {kept / f"{number:03d}.safetensors": rows for number, rows in enumerate(buckets)}
    tasks = {path: (partial(_keep_prefix, campaign, rows, indices, path), len(rows)) for path, rows in files.items()}
    work_off("shared synchronous prefix", tasks, cores)
    return files


def _keep_prefix(campaign: Campaign, rows: Rows, indices: set[int], path: Path) -> None:
    tune_cpu(campaign.threads)
    save_branches(path, prefix_of(campaign, rows, indices))


def run_row(
    campaign: Campaign,
    prefix: Mapping[Path, Rows],
    row: Row,
    settings: Mapping[str, Any],
    count: int,
    parts: Path,
    cores: int,
) -> tuple[MoleculeSet, dict[str, Any]]:
    """The molecules with the ids 0 … count − 1 in that order, and what was seen on the way.

    Args:
        campaign: model and molecules.
        prefix: from `shared_prefix`.
        row, settings: what differs from other rows.
        count: molecules.
        parts: folder of the finished buckets.
        cores: processes at once.
    """
    tasks = {}
    for bucket, ids in prefix.items():
        if size := int((ids < count).sum()):
            path = parts / f"{bucket.stem}.npz"
            tasks[path] = (partial(_run_bucket, campaign, bucket, row, settings, count, path), size)
    work_off(row.name, tasks, cores)
    made = MoleculeSet.concatenate([load_npz(path) for path in tasks])
    ids, seen = made.properties["id"], [load_seen(seen_beside(path)) for path in tasks]
    return made.select(np.argsort(ids)), joined(seen, ids, made.num_atoms)


def _run_bucket(
    campaign: Campaign, bucket: Path, row: Row, settings: Mapping[str, Any], count: int, path: Path
) -> None:
    """Keep the molecules of a bucket, and before them what was seen."""
    tune_cpu(campaign.threads)
    branch = _first(load_branches(bucket), count)[campaign.branch_index(settings)]
    process = row_process(campaign, row, settings)
    observed = Observed(process.grid)
    made = complete(campaign.checkpoint, branch.state, process, observed)
    seconds = made.properties["seconds"] + branch.seconds
    save_seen(observed.arrays(), seen_beside(path))
    save_npz(replace(made, properties={**made.properties, "seconds": seconds}), path)


def _first(branches: Bucket, count: int) -> Bucket:
    """The branches of the molecules with the ids 0 … count − 1."""
    return {
        index: Branch(branch.state.select(torch.nonzero(branch.state.ids < count)[:, 0]), branch.seconds)
        for index, branch in branches.items()
    }


def row_process(campaign: Campaign, row: Row, settings: Mapping[str, Any]) -> Process:
    """How the molecules of a row move."""
    process = campaign.process(settings)
    return process if row.noise == 1 else replace(process, solver=Solver(partial(quieter, row.noise)))


def quieter(factor: float, schedule: NoiseSchedule, t: Tensor, s: Tensor) -> Coefficients:
    """The first-order move, with its noise times a factor in the levels where other rows pause."""
    move = schedule.reverse(t, s)
    return replace(move, noise=torch.where(t <= RATIO * schedule.steps, factor * move.noise, move.noise))


def seen_beside(path: Path) -> Path:
    """The file of what was seen of molecules."""
    return path.with_suffix(".seen.npz")


def save_seen(seen: Mapping[str, Any], path: Path) -> None:
    """Write arrays, whole or not at all."""
    with write_aside(path) as aside:
        np.savez_compressed(aside, **seen)


def load_seen(path: Path) -> dict[str, Any]:
    """Read arrays."""
    with np.load(path) as arrays:
        return dict(arrays)
