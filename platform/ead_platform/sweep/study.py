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
from ead_core.config import Config, SamplerConfig
from ead_core.config.reference import entries
from ead_core.data.batching import size_buckets
from ead_core.data.properties import counted_element
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError, Targets
from ead_core.data.tensors import size_mask
from ead_core.diffusion.process import Process
from ead_core.errors import EADError
from ead_core.evaluation.card import Evaluated
from ead_core.evaluation.compare import differences
from ead_core.evaluation.published import evaluate_published
from ead_core.networks.memory import molecules_per_call
from ead_core.sampling.build import build_process
from ead_core.sampling.conditions import Conditions, decide
from ead_core.sampling.generation import complete
from ead_core.sampling.prefix import Branch, load_branches, run_prefix, save_branches
from ead_core.sampling.state import initial_state

SYNCHRONOUS = {"sampler.async_ratio": 0.0}
PAPER = {"sampler.async_ratio": 0.2, "sampler.history_window": 2}
REFERENCE_POINTS: list[dict[str, Any]] = [
    {"sampler.policy": "adaptive", "sampler.pause_mode": "repeat", "sampler.history_window": 2, **point}
    for point in (SYNCHRONOUS, PAPER)
]
FIXED_KEYS = (
    "sampler.steps",
    "sampler.grid",
    "sampler.solver",
    "sampler.batch_size",
    "sampler.memory_budget",
    "sampler.precision",
    "sampler.start",
)
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

    def branch_index(self, point: Mapping[str, Any]) -> int:
        """Where a trial leaves the synchronous prefix: at the start of its asynchronous stage.

        Or at the very beginning, if a key of `FROM_THE_TOP` is not as in the prefix, or if some molecules have gone
        back up by then, so that they are no longer all at one step.
        """
        process, own = self.process(point), self.checkpoint.config.flat()
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


def run_point(campaign: Campaign, buckets: Sequence[Bucket], point: Mapping[str, Any]) -> MoleculeSet:
    """The molecules of one trial; `seconds` includes the inherited way to the branch level."""
    return _in_order([_complete(campaign, branches, point) for branches in buckets])


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


def _complete(campaign: Campaign, branches: Bucket, point: Mapping[str, Any]) -> MoleculeSet:
    tune_cpu(campaign.threads)
    branch = branches[campaign.branch_index(point)]
    made = complete(campaign.checkpoint, branch.state, campaign.process(point))
    return replace(made, properties={**made.properties, "seconds": made.properties["seconds"] + branch.seconds})


def measure(molecules: MoleculeSet, baseline: Evaluated | None = None) -> tuple[Evaluated, dict[str, float]]:
    """A trial's card and its figures as flat metrics; differences are paired with the baseline's molecules."""
    found = evaluate_published(molecules, workers=1)
    figures = found.card.sections["published"]
    metrics = {name: figure.value for name, figure in figures.items()}
    for name, figure in figures.items():
        if figure.interval:
            metrics[f"{name}_low"], metrics[f"{name}_high"] = figure.interval
    for name, change in (differences(baseline, found) if baseline else {}).items():
        metrics |= change.metrics(name)
    for name in ("nfe", "seconds"):
        metrics[f"{name}_per_molecule"] = found.card.figure(name).value
    return found, metrics


def check_space(space: object, campaign: Campaign) -> dict[str, list[Any]]:
    """A search space as lists of choices per sampler key, completed by the values of the reference points.

    Raises:
        EADError: not a mapping of sampler keys to lists, or a choice that the configuration refuses.
    """
    if not isinstance(space, Mapping) or not space:
        raise EADError("the search space must map sampler keys to lists, e.g. sampler.async_ratio: [0.1, 0.2].")
    default = campaign.checkpoint.config.sampler.async_ratio
    checked: dict[str, list[Any]] = {}
    for key, choices in {"sampler.async_ratio": [default], **space}.items():  # the baseline needs this key
        if not str(key).startswith("sampler.") or not isinstance(choices, list) or not choices:
            raise EADError(f"search space: '{key}' must be a sampler key with a list of choices.")
        if nested := [choice for choice in choices if isinstance(choice, list | dict)]:
            raise EADError(f"search space: the choices of {key} must be single values, not {nested[0]}.")
        if key in FIXED_KEYS:
            raise EADError(f"search space: {key} must be the same in all trials, which share their start.")
        wanted = [point[key] for point in REFERENCE_POINTS if key in point]
        checked[str(key)] = choices + [value for value in dict.fromkeys(wanted) if value not in choices]
        for choice in checked[str(key)]:
            campaign.process({key: choice})
    _refuse_idle(checked, campaign)
    return checked


def _refuse_idle(space: Mapping[str, list[Any]], campaign: Campaign) -> None:
    """EADError for a key that has no effect with any choice of the others; with some of them, trials may pass it by."""
    values = campaign.checkpoint.config.override({"sampler.policy": "adaptive"}).flat()
    for key in space:
        for condition in entries(Config)[key].conditions:
            if not any(map(condition.met, space.get(condition.key, [values[condition.key]]))):
                raise EADError(f"search space: {key} has no effect in any trial; it needs {condition}.")


def reference_points(space: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The synchronous baseline and the paper's setting, expressed in the keys of a space."""
    return [{key: point.get(key, choices[0]) for key, choices in space.items()} for point in REFERENCE_POINTS]


def branch_indices(campaign: Campaign, space: Mapping[str, list[Any]]) -> set[int]:
    """Every level at which some point of the space leaves the prefix."""
    keys = [key for key in ("sampler.policy", "sampler.async_ratio", *FROM_THE_TOP) if key in space]
    combinations = itertools.product(*(space[key] for key in keys))
    return {campaign.branch_index(dict(zip(keys, values, strict=True))) for values in combinations}


def identity(point: Mapping[str, Any]) -> Hashable:
    """Equal for points that give the same molecules: with async_ratio 0 only keys of `FROM_THE_TOP` matter."""
    if point.get("sampler.async_ratio") == 0 and point.get("sampler.policy", "adaptive") == "adaptive":
        return "synchronous", *(point.get(key) for key in FROM_THE_TOP)
    return tuple(sorted(point.items()))
