"""One way down for each molecule to a level, and from there several branches, of which few reach the end.

What is asked of a molecule is decided in the middle of its way: above, its branches have all steps in common; below,
what the network predicts of the clean molecule, x̂, tells which of them come near. At a few levels those farthest from
their targets end (successive halving, Jamieson and Talwalkar 2016), by the prediction that the step makes anyway.

Branch 0 is the molecule as it would be alone; every other has noise of its own, keyed by its number. A molecule's
network calls are those of all of its branches.

Legend: B molecules, k branches.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ead_core.common.noise import Stream, derived_seeds
from ead_core.config import SamplerConfig
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.prediction.judge import Judge
from ead_core.sampling.choice import as_chosen, best_rows, distance
from ead_core.sampling.micro_batches import MicroBatch, merge

WHOLE = -1  # the branch of a molecule that has not been split


@dataclass(frozen=True)
class BranchPlan:
    """Where on the grid molecules are split, and where branches end.

    Attributes:
        branches: k.
        split: the step of the grid at which a molecule is split, once its highest atom has come there.
        prunings: steps below, from high to low, and how many branches go on from each.
    """

    branches: int
    split: int
    prunings: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, config: SamplerConfig, process: Process) -> "BranchPlan | None":
        """The plan of the settings; None where nothing is split.

        Raises:
            ConfigError: the steps are too long for the level of the split.
        """
        if config.branches == 1 or not process.moves.stochastic:
            return None
        split = _step(process, config.branch_level)
        if split < 1:
            raise ConfigError(
                f"sampler.branch_level={config.branch_level:g} is below the last step, so that branches would not "
                "differ; raise it, or sampler.steps."
            )
        left, prunings = config.branches, dict[int, int]()
        for number, level in enumerate(config.pruning_levels):
            step = _step(process, level)
            if 1 <= step < split:
                left = math.ceil(left * config.pruning_kept[min(number, len(config.pruning_kept) - 1)])
                prunings[step] = left
        return cls(config.branches, split, tuple(prunings.items()))

    def next_step(self, step: int) -> int:
        """Where the next decision after that at a step of the grid is made; 0 if there is none."""
        return next((below for below, _ in self.prunings if below < step), 0)

    def alive(self, step: int) -> int:
        """Branches of a molecule that come to the decision at a step of the grid."""
        return next((kept for above, kept in reversed(self.prunings) if above > step), self.branches)

    def extra_calls(self, process: Process, pauses: int) -> int:
        """Most network calls that the branches add to those of one molecule, without guidance.

        Args:
            process: how molecules move.
            pauses: most of one molecule.
        """
        ends = [self.split, *(step - 1 for step, _ in self.prunings), -1]  # all take the step that they are judged by
        moves = [int(process.calls[below + 1 : above + 1].sum()) for above, below in pairwise(ends)]
        counts = [self.branches, *(kept for _, kept in self.prunings)]
        again = (counts[-1] - 1) * process.restart_calls
        spent = sum((count - 1) * own for count, own in zip(counts, moves, strict=True))
        return spent + again + (self.branches - 1) * pauses


def _step(process: Process, level: float) -> int:
    """The highest step of the grid that is not above a share of T."""
    return int((process.grid <= level * process.schedule.steps).sum()) - 1


@dataclass
class Branching:
    """The branches of one request: who has been judged and waits for the others, and what ended ones have cost.

    Attributes:
        plan: where decisions are made.
        selector: predicts what is asked for; None if counting atoms is enough.
        asked: [M] by property, what the molecules at each place were asked for.
        molecules: M.
    """

    plan: BranchPlan
    selector: Judge | None
    asked: Mapping[str, NDArray[Any]]
    molecules: int
    _waiting: list[MicroBatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._calls, self._seconds = np.zeros(self.molecules, np.int64), np.zeros(self.molecules)

    def split(self, trunks: MicroBatch, clock: float) -> MicroBatch:
        """The branches of molecules [B] as molecules [B·k]; branch 0 has the cost so far, and the others none yet."""
        count = len(trunks.labels)
        split = trunks.select(np.repeat(np.arange(count), self.plan.branches))
        numbers = np.tile(np.arange(self.plan.branches), count)
        state, branch = split.state, torch.from_numpy(numbers).to(split.state.z.device)
        seeds = derived_seeds(state.seeds, state.ids, branch, Stream.BRANCH)
        seeds, calls = torch.where(branch == 0, state.seeds, seeds), state.calls * (branch == 0)
        split.labels["branch"], split.labels["due"] = numbers, self.plan.next_step(self.plan.split)
        split.labels["begun"][numbers > 0] = clock
        return replace(split, state=replace(state, seeds=seeds, calls=calls))

    def judge(self, labels: NDArray[Any], predicted: MoleculeSet) -> None:
        """Note in the labels [B] how far molecules, as they are predicted, are from what was asked of them."""
        asked = {name: values[labels["place"]] for name, values in self.asked.items()}
        labels["score"] = distance(replace(predicted, properties=asked), self.selector)

    def wait(self, judged: MicroBatch, clock: float) -> None:
        """Let judged branches wait for the others of their molecules."""
        judged.labels["begun"] -= clock
        self._waiting.append(judged)

    def decide(self) -> list[MicroBatch]:
        """The branches that go on, of molecules of which all have been judged; the others of these end."""
        waiting = merge(self._waiting)
        labels = waiting.labels
        order = np.lexsort((labels["branch"], labels["score"], labels["place"]))
        _, starts, owner, counts = np.unique(
            labels["place"][order], return_index=True, return_inverse=True, return_counts=True
        )
        due = labels["due"][order]
        whole = counts[owner] == [self.plan.alive(step) for step in due.tolist()]
        kept = dict(self.plan.prunings)
        first = np.arange(len(order)) - starts[owner] < [kept[step] for step in due.tolist()]
        self._waiting = [waiting.select(order[~whole])] if not whole.all() else []
        self._end(waiting.select(order[whole & ~first]))
        going = replace(waiting.select(order[whole & first]), foreseen=False)
        going.labels["due"] = [self.plan.next_step(step) for step in going.labels["due"].tolist()]
        going.labels["score"] = np.nan
        return [going] if whole.any() else []

    def _end(self, ended: MicroBatch) -> None:
        places = ended.labels["place"]
        np.add.at(self._calls, places, ended.state.calls.cpu().numpy())
        np.add.at(self._seconds, places, -ended.labels["begun"])

    def best(self, finished: MoleculeSet, places: NDArray[np.int64]) -> MoleculeSet:
        """The best finished branch of every molecule, at the cost of all, this choice included.

        Args:
            finished: with their `nfe`, `seconds` and targets.
            places: of the molecules that they are branches of, in ascending order.
        """
        begun, rows = time.perf_counter(), best_rows(finished, places, self.selector)
        costs: dict[str, NDArray[Any]] = {"nfe": self._calls.copy(), "seconds": self._seconds.copy()}
        for name, spent in costs.items():
            np.add.at(spent, places, finished.properties[name])
        costs["seconds"] += (time.perf_counter() - begun) / self.molecules
        return as_chosen(finished.select(rows), self.plan.branches, costs, self.selector)
