"""Sweeping sampler settings on a trained checkpoint without retraining.

All trials generate the same molecules from the same noise. Above the branch level they are identical, so the
synchronous way there is computed once (per bucket, in parallel) and every trial starts from the stored states.
"""

import hashlib
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.config import SamplerConfig
from ead_core.data.batching import size_buckets
from ead_core.data.properties import counted_element
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError, Targets
from ead_core.data.tensors import size_mask
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.networks.memory import molecules_per_call
from ead_core.sampling.build import build_process
from ead_core.sampling.conditions import Conditions, decide
from ead_core.sampling.engine import Observer
from ead_core.sampling.generation import complete
from ead_core.sampling.prefix import Branch, load_branches, run_prefix, save_branches
from ead_core.sampling.state import initial_state
from ead_platform.sweep.space import Space

SYNCHRONOUS = {"sampler.async_ratio": 0.0}
# What acts on synchronous sampling, too: a trial with another value than the checkpoint's own shares no prefix.
FROM_THE_TOP = (
    "sampler.guidance",
    "sampler.temperature",
    "sampler.temperature_width",
    "sampler.corrector",
    "sampler.corrector_mode",
    "sampler.corrector_channels",
    "sampler.parity_restarts",
)
# What decides which levels there are, and how a step is made: a trial with another value begins anew, with its own
# grid, from the same noise.
OF_THE_GRID = ("sampler.steps", "sampler.grid", "sampler.solver", "sampler.start")
Bucket = Mapping[int, Branch]


@dataclass(frozen=True)
class Campaign:
    """What all trials of a sweep share.

    Attributes:
        checkpoint: the trained model.
        seed: key of all noise.
        first: id of the first molecule; fresh ids make fresh molecules.
        samples: molecules per trial.
        threads: torch threads per trial.
        targets: see `Request`.
    """

    checkpoint: Checkpoint
    seed: int
    first: int
    samples: int
    threads: int
    targets: Targets | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Equal for campaigns that generate the same molecules: checkpoint, seed, ids, threads, targets."""
        what = f"{self.checkpoint.fingerprint()} {self.seed} {self.first} {self.samples} {self.threads}"
        if self.targets:
            what += f" {self.targets.to_json()}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]

    @cached_property
    def own(self) -> dict[str, Any]:
        """The value of every key where a trial says nothing: that of the checkpoint, with the adaptive policy."""
        return self.checkpoint.config.override({"sampler.policy": "adaptive"}).flat()

    @property
    def ids(self) -> torch.Tensor:
        """[M] molecule ids."""
        return torch.arange(self.first, self.first + self.samples)

    @cached_property
    def start(self) -> Conditions:
        """Sizes and context of the molecules (TargetError if the checkpoint cannot take the targets)."""
        known = self.checkpoint.statistics.properties
        for name in self.targets.names if self.targets else ():
            if counted_element(name) and name not in known:
                raise TargetError(
                    f"{self.checkpoint.name} was not trained with {name}, and a sweep keeps no formula, since its "
                    "trials share their beginning; sweep a model that was trained with numbers of atoms.",
                    name,
                )
        return decide(self.checkpoint, self.seed, self.ids, None, self.targets)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[M] atoms per molecule."""
        return self.start.sizes

    def molecules_per_call(self, atoms: int) -> int:
        """How many molecules with `atoms` atoms are computed together."""
        sampler = self.checkpoint.config.sampler
        return min(sampler.batch_size, molecules_per_call(self.checkpoint.denoiser, atoms, sampler.memory_budget))

    def sampler(self, point: Mapping[str, Any]) -> SamplerConfig:
        """The sampler section with a trial's dotted keys (ConfigError if they are not valid)."""
        return self.checkpoint.config.override({"sampler.policy": "adaptive", **point}).sampler

    def process(self, point: Mapping[str, Any]) -> Process:
        """The run that a trial's keys describe."""
        return build_process(self.checkpoint, self.sampler(point), int(self.sizes.max()))

    def refusal(self, point: Mapping[str, Any]) -> str | None:
        """Why a trial's keys do not fit each other or the checkpoint, in a sentence; None if they do."""
        try:
            self.process(point)
        except ConfigError as error:
            return str(error)
        return None

    def begins_anew(self, point: Mapping[str, Any]) -> bool:
        """Whether a trial has other steps than the prefix."""
        return any(point.get(key, self.own[key]) != self.own[key] for key in OF_THE_GRID)

    def branch_index(self, point: Mapping[str, Any]) -> int:
        """Where a trial leaves the synchronous prefix: at the start of its asynchronous stage.

        Or at the very beginning, if a key of `FROM_THE_TOP` is not as in the prefix, or if some molecules have gone
        back up by then, so that they are no longer all at one step.
        """
        process, own = self.process(point), self.own
        top = len(process.grid) - 1
        index = process.policy.branch_index(top)
        parted = process.restart_steps is not None and 0 < index <= process.restart_steps[0]
        changed = any(point.get(key, own[key]) != own[key] for key in FROM_THE_TOP)
        return top if parted or changed else index


def shared_prefix(campaign: Campaign, indices: set[int], folder: Path, progress: Callable[[int], None]) -> list[Bucket]:
    """The states of all buckets at `indices`, from `folder` where they are stored, else computed on the cluster.

    Args:
        campaign: model and molecules.
        indices: branch levels of all trials; 0, the synchronous end, is always kept.
        folder: of the driver; a subfolder for this campaign and these grid steps gets a file per bucket as it is done.
        progress: receives the number of molecules done since its last call.
    """
    buckets = size_buckets(campaign.sizes, campaign.molecules_per_call)
    kept = folder / "-".join([campaign.fingerprint, *map(str, sorted(indices))])
    paths = [kept / f"bucket-{number:03d}.safetensors" for number in range(len(buckets))]
    shared = ray.put(campaign)
    work = ray.remote(prefix_of).options(num_cpus=campaign.threads)
    tasks = {}
    for rows, path in sorted(zip(buckets, paths, strict=True), key=lambda pair: -_cost(campaign.sizes[pair[0]])):
        if path.is_file():
            progress(len(rows))
        else:
            tasks[work.remote(shared, rows, indices | {0})] = (path, len(rows))
    while tasks:
        [done], _ = ray.wait(list(tasks), num_returns=1)
        path, count = tasks.pop(done)
        save_branches(path, ray.get(done))
        progress(count)
    return [load_branches(path) for path in paths]


def prefix_of(campaign: Campaign, rows: NDArray[np.int64], indices: set[int]) -> Bucket:
    """The synchronous way of the molecules `rows` of a campaign, with their states at `indices` of the grid."""
    tune_cpu(campaign.threads)
    process = campaign.process(SYNCHRONOUS)
    mask = size_mask(campaign.sizes[rows])
    channels = 3 + campaign.checkpoint.atom_types.num_features
    seeds = torch.full_like(campaign.ids, campaign.seed)
    context = campaign.start.context[torch.from_numpy(rows)]
    state = initial_state(seeds[rows], campaign.ids[rows], mask, channels, process, context=context)
    return run_prefix(state, process, indices)


def _cost(sizes: NDArray[np.int64]) -> int:
    """Relative work of a bucket; the most expensive start first, so that no core waits for a late one."""
    return len(sizes) * int(sizes.max()) ** 2


def run_point(
    campaign: Campaign, buckets: Sequence[Bucket], point: Mapping[str, Any], observe: Observer | None = None
) -> MoleculeSet:
    """The molecules of one trial; `seconds` includes the inherited way to the branch level.

    Args:
        campaign: model and molecules.
        buckets: from `shared_prefix`.
        point: the trial's keys.
        observe: sees every step, and may end the trial by raising an error.
    """
    return _in_order([_complete(campaign, branches, point, observe) for branches in buckets])


def run_point_in_parallel(
    campaign: Campaign,
    buckets: Sequence[Bucket],
    point: Mapping[str, Any],
    progress: Callable[[int], None] = lambda done: None,
) -> MoleculeSet:
    """The molecules of `run_point`, with one task of the cluster per bucket, the most expensive first."""
    shared = ray.put(campaign)
    work = ray.remote(_complete).options(num_cpus=campaign.threads)
    running = [work.remote(shared, branches, point) for branches in reversed(buckets)]
    results = []
    while running:
        [done], running = ray.wait(running, num_returns=1)
        results.append(ray.get(done))
        progress(len(results[-1]))
    return _in_order(results)


def _in_order(results: list[MoleculeSet]) -> MoleculeSet:
    made = MoleculeSet.concatenate(results)
    return made.select(np.argsort(made.properties["id"]))


def _complete(
    campaign: Campaign, branches: Bucket, point: Mapping[str, Any], observe: Observer | None = None
) -> MoleculeSet:
    tune_cpu(campaign.threads)
    process = campaign.process(point)
    branch = _beginning(campaign, branches, point, process)
    made = complete(campaign.checkpoint, branch.state, process, observe)
    return replace(made, properties={**made.properties, "seconds": made.properties["seconds"] + branch.seconds})


def _beginning(campaign: Campaign, branches: Bucket, point: Mapping[str, Any], process: Process) -> Branch:
    """Where the trial's own way begins: at the nearest stored level above, or at the noise that all have in common."""
    if campaign.begins_anew(point):
        kept = branches[0].state
        channels = kept.z.shape[-1]
        return Branch(initial_state(kept.seeds, kept.ids, kept.mask, channels, process, context=kept.context), 0.0)
    index = campaign.branch_index(point)
    return branches[min(stored for stored in branches if stored >= index)]


def branch_indices(campaign: Campaign, space: Space) -> set[int]:
    """Levels at which trials leave the prefix: all of them, or, where they are too many, some above each."""
    top = len(campaign.process(SYNCHRONOUS).grid) - 1
    found = {top} if any(key in space.parameters for key in FROM_THE_TOP) else set()
    keys = [key for key in ("sampler.policy", "sampler.async_ratio") if key in space.parameters]
    for values in itertools.product(*(space.parameters[key].marks() for key in keys)):
        point = dict(zip(keys, values, strict=True))
        if campaign.refusal(point) is None:
            found.add(campaign.branch_index(point))
    return found


def identity(point: Mapping[str, Any]) -> Hashable:
    """Equal for points that give the same molecules: in synchronous sampling, only what acts on it matters."""
    policy = point.get("sampler.policy", "adaptive")
    if policy == "synchronous" or (policy == "adaptive" and point.get("sampler.async_ratio") == 0):
        return "synchronous", *(point.get(key) for key in (*FROM_THE_TOP, *OF_THE_GRID))
    return tuple(sorted(point.items()))


def departures(campaign: Campaign, point: Mapping[str, Any]) -> dict[str, Any]:
    """What a point has otherwise than the checkpoint has it by itself."""
    return {key: value for key, value in point.items() if value != campaign.own[key]}
