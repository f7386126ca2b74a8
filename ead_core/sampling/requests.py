"""What a caller may ask the sampler for, and the check that it can be made."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.noise import MAX_SEED
from ead_core.config import SamplerConfig
from ead_core.data.priors import SizeRange
from ead_core.data.targets import TargetError, Targets
from ead_core.diffusion.policy import Policy
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.networks.memory import molecules_per_call
from ead_core.prediction.judge import Judge
from ead_core.sampling.branching import Branching, BranchPlan
from ead_core.sampling.build import build_process
from ead_core.sampling.choice import SELECTED_BY, selector_of
from ead_core.sampling.conditions import Conditions, Sizes, decide
from ead_core.sampling.formulas import check_fragment, compositions, untold
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.presets import preset_settings
from ead_core.sampling.wanted import check_guide, pulls_to, wanted_of

MOST = 10_000_000  # molecules of one request, which are in memory together


@dataclass(frozen=True)
class Request:
    """What one caller wants.

    Attributes:
        num: how many molecules.
        sampler: settings, e.g. from `sampler_config`.
        seed: equal seeds give equal molecules, however they are batched (to rounding).
        first: id of the first molecule; the ids are first … first + num − 1.
        sizes: atoms per molecule, cycled by id, or a range; None draws from the training histogram, or with targets
            from training molecules like those asked for (draws.py).
        targets: properties that the molecules shall have, in border units.
        fragment: atoms that every molecule shall have, in addition to generated ones.
        policy: takes the place of `sampler.policy`.
        selector: predicts properties, for the choice among branches (`sampler.branches`) and the pull to targets
            (`sampler.property_guidance`); None takes the bundled one.
    """

    num: int
    sampler: SamplerConfig
    seed: int = 0
    first: int = 0
    sizes: Sizes = None
    targets: Targets | None = None
    fragment: Fragment | None = None
    policy: Policy | None = None
    selector: Judge | None = None

    @property
    def ids(self) -> Tensor:
        """[num] molecule ids."""
        return torch.arange(self.first, self.first + self.num)

    def each(self, times: int) -> "Request":
        """So many candidates for each molecule, side by side, with its size and targets."""
        sizes, targets = self.sizes, self.targets and self.targets.each(times)
        if sizes is not None and not isinstance(sizes, SizeRange):
            sizes = tuple(size for size in sizes for _ in range(times))
        return replace(self, num=self.num * times, first=self.first * times, sizes=sizes, targets=targets)


@dataclass(frozen=True)
class Prepared:
    """A request that has been found to be possible.

    Attributes:
        request: what has been asked for.
        process: how the molecules move.
        start: what they start from.
        composition: [M, K] atoms of each type that the molecules are to have; None if no formula is kept.
        wanted: [M, P] properties that they are pulled to, in units of their spreads; None if there are none.
    """

    request: Request
    process: Process
    start: Conditions
    composition: Tensor | None = None
    wanted: Tensor | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint, request: Request, start: Conditions) -> "Prepared":
        """A request whose molecules start from `start` (ConfigError: settings do not fit)."""
        kept, largest = request.fragment, int(start.sizes.max())
        composition = compositions(request.sampler, checkpoint.atom_types, start.values, start.sizes)
        if kept is not None and composition is not None:
            check_fragment(kept, composition, checkpoint.atom_types)
        wanted = wanted_of(request.sampler, start.values, request.selector)
        process = build_process(
            checkpoint,
            request.sampler,
            largest,
            pinned=kept is not None,
            policy=request.policy,
            formula=composition is not None,
            selector=None if wanted is None else request.selector,
        )
        return cls(request, process, start, composition, wanted)

    @property
    def properties(self) -> dict[str, NDArray[Any]]:
        """What the finished molecules carry of it: what they were asked for, and who pulled them to it."""
        properties: dict[str, NDArray[Any]] = dict(self.start.properties)
        if self.wanted is not None and (selector := self.request.selector):
            properties[SELECTED_BY] = np.full(len(self.start.ids), selector.fingerprint)
        return properties


def sampler_config(
    checkpoint: Checkpoint,
    settings: Mapping[str, object],
    preset: str | None = None,
    *,
    around_fragment: bool = False,
) -> SamplerConfig:
    """The checkpoint's sampler section, changed by a preset and then by the settings of a request.

    Args:
        checkpoint: the model.
        settings: keys without prefix.
        preset: a name of `presets.NAMES`; None is the section as it is.
        around_fragment: whether the molecules shall hold a fragment.

    Raises:
        ConfigError: an unknown preset, or as of `Config.sampling`.
    """
    config = checkpoint.config
    if preset is not None:
        config = config.override(preset_settings(checkpoint, preset, around_fragment))
    return config.sampling(settings)


def prepare(checkpoint: Checkpoint, request: Request) -> Prepared:
    """Check a request, and settle how its molecules move and what they start from.

    Raises:
        ConfigError: a number, seed, id or size out of range, settings that do not fit the checkpoint, or a molecule
            too large for the memory budget.
        TargetError: targets that the model does not know, or that contradict each other or the sizes.
        DataError: a fragment with an element that the model does not know, or with atoms too close to each other.
    """
    _check_numbers(request)
    if request.fragment is not None:
        sizes = around(checkpoint, request.fragment, request.sizes)
        request.fragment.check()
        request = replace(request, sizes=sizes)
    start = decide(checkpoint, request.seed, request.ids, request.sizes, request.targets)
    if request.sampler.composition == "told" and request.targets and untold(checkpoint, request.targets):
        raise ConfigError(
            f"sampler.composition=told is for models that were trained with numbers of atoms, which {checkpoint.name} "
            "was not; leave it at exact."
        )
    molecules_per_call(checkpoint.denoiser, int(start.sizes.max()), request.sampler.memory_budget)
    if pulls_to(request.sampler, start.values):
        request = replace(request, selector=selector_of(checkpoint, tuple(start.values), request.selector))
        if request.selector:
            check_guide(request.selector, checkpoint)
    prepared = Prepared.of(checkpoint, request, start)
    if BranchPlan.of(request.sampler, prepared.process):
        if request.targets is None:
            raise TargetError("sampler.branches keeps what is nearest to its targets, but none are given.")
        request = replace(request, selector=selector_of(checkpoint, request.targets.names, request.selector))
    return replace(prepared, request=request)


def _check_numbers(request: Request) -> None:
    if not 0 <= request.seed <= MAX_SEED:
        raise ConfigError(f"seed must be between 0 and {MAX_SEED}, not {request.seed}.")
    if request.num < 1:
        raise ConfigError(f"the number of molecules must be at least 1, not {request.num}.")
    if request.num > MOST:
        raise ConfigError(
            f"the number of molecules must be at most {MOST:,} at once, not {request.num:,}; batch generation makes "
            "more."
        )
    if not 0 <= request.first <= MAX_SEED - request.num:
        raise ConfigError(f"molecule ids must be between 0 and {MAX_SEED}, but the first is {request.first}.")


def branching_of(request: Request, process: Process, start: Conditions) -> Branching | None:
    """How the branches of a request's molecules are decided on; None if it has none."""
    plan = BranchPlan.of(request.sampler, process)
    return Branching(plan, request.selector, start.properties, len(start.ids)) if plan else None


def around(checkpoint: Checkpoint, fragment: Fragment, sizes: Sizes) -> Sizes:
    """Sizes with room for the fragment and at least one more atom: those asked for, or any of training.

    Raises:
        ConfigError: a size that is too small, a model that was not trained to keep fragments, or one that is too large.
        DataError: an element that the model does not know.
    """
    if not checkpoint.config.training.fragments:
        raise ConfigError(
            f"{checkpoint.name} was not trained to complete fragments; a recipe with training.fragments=0.2 and "
            f"training.initial={checkpoint.name} teaches it."
        )
    checkpoint.atom_types.types(torch.from_numpy(fragment.charges))
    least, largest = len(fragment) + 1, max(checkpoint.statistics.sizes)
    if sizes is None and least > largest:
        raise ConfigError(
            f"the fragment has {len(fragment)} atoms, but training molecules have at most {largest}; "
            "name a size, or take a smaller fragment."
        )
    if sizes is None:
        return SizeRange(least, largest)
    smallest = sizes.smallest if isinstance(sizes, SizeRange) else min(sizes, default=0)
    if smallest < least:
        raise ConfigError(f"sizes must be at least {least} atoms, one more than the fragment, not {smallest}.")
    return sizes


def of_largest(checkpoint: Checkpoint, request: Request) -> Request:
    """The request for one molecule, unsplit, of the largest size that requests of this kind may bring."""
    request = replace(request, sampler=request.sampler.model_copy(update={"branches": 1}))
    if checkpoint.atom_types.has_dummies:
        return replace(request, num=1, targets=None)
    known, sizes = checkpoint.statistics.sizes, request.sizes
    if isinstance(sizes, SizeRange):
        sizes = tuple(size for size in known if size <= sizes.largest)
    largest = max(sizes or known)
    if request.targets is not None:
        largest = max(largest, request.targets.most_atoms())
    return replace(request, num=1, sizes=(largest,), targets=None)
