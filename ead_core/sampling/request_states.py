"""A request in work: which of its molecules wait, which rest, and which are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.data.store import MoleculeSet
from ead_core.diffusion.process import Process
from ead_core.sampling.branching import WHOLE, Branching
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.micro_batches import MicroBatch
from ead_core.sampling.state import SamplerState


@dataclass(eq=False)
class RequestState:
    """A request in work.

    Attributes:
        process: how its molecules move.
        begin: the first states of the molecules at given places.
        labels: of all molecules.
        waiting: places of those that have not begun, smallest molecule first.
        asked: [M] arrays of what was asked of the molecules, which they carry as properties.
        fragment: what all of them keep.
        branching: decides on the branches of the molecules; None where they have none.
        made: by place and branch, the numbers and arrays of what is finished.
        resting: molecules that have begun and make room for others; `begun` of their labels is minus what they have
            been charged.
        served: molecules times network calls so far, and those of the least served request when it came.
    """

    process: Process
    begin: Callable[[NDArray[Any]], SamplerState]
    labels: NDArray[Any]
    waiting: NDArray[Any]
    asked: Mapping[str, NDArray[Any]]
    fragment: Fragment | None = None
    branching: Branching | None = None
    made: dict[int, dict[int, tuple[Any, ...]]] = field(default_factory=dict)
    resting: list[MicroBatch] = field(default_factory=list)
    served: int = 0

    def __post_init__(self) -> None:
        self.unmade = len(self.labels)  # molecules, or branches of them, that run, rest or have not begun

    def decide(self, running: MicroBatch, clock: float) -> list[MicroBatch]:
        """The molecules that run, without the branches that end or wait and with those of molecules that are split."""
        if self.branching is None:
            return [running]
        before = len(running.labels) + sum(len(part.labels) for part in self.resting)
        labels, left = running.labels, running.state.grid_index.amax(dim=1).cpu().numpy()
        judged, splitting = ~np.isnan(labels["score"]), (labels["branch"] == WHOLE) & (left <= labels["due"])
        going = [running.select(np.flatnonzero(~judged & ~splitting))]
        if splitting.any():
            going.append(self.branching.split(running.select(np.flatnonzero(splitting)), clock))
        if judged.any():
            self.branching.wait(running.select(np.flatnonzero(judged)), clock)
            self.resting += self.branching.decide()
        self.unmade += sum(len(part.labels) for part in (*going, *self.resting)) - before
        return [part for part in going if len(part.labels)]

    def finish(self, label: Any, *made: Any) -> bool:
        """Take in a finished molecule or branch; whether it is the first of its molecule."""
        branches = self.made.setdefault(int(label["place"]), {})
        branches[int(label["branch"])] = made
        self.unmade -= 1
        return len(branches) == 1

    def rest(self, micro_batch: MicroBatch, clock: float) -> None:
        """Let molecules of this request that run make room for others."""
        micro_batch.labels["begun"] -= clock
        self.resting.append(micro_batch)

    def take(self, most: int, clock: float) -> list[MicroBatch]:
        """Let up to `most` molecules go on or begin."""
        taken = []
        while most and self.resting:
            micro_batch = self.resting.pop()
            rows = np.arange(len(micro_batch.labels))
            if len(rows) > most:
                self.resting.append(micro_batch.select(rows[most:]))
                micro_batch = micro_batch.select(rows[:most])
            micro_batch.labels["begun"] += clock
            taken.append(micro_batch)
            most -= len(micro_batch.labels)
        rows, self.waiting = self.waiting[:most], self.waiting[most:]
        if len(rows):
            self.labels["begun"][rows] = clock
            taken.append(MicroBatch(self.process, False, self.labels[rows], self.begin(rows)))
        return taken

    def molecules(self) -> MoleculeSet:
        """All molecules in the order of the request, once they are made."""
        finished = [(place, made) for place in sorted(self.made) for _, made in sorted(self.made[place].items())]
        places = np.array([place for place, _ in finished])
        ids, nfe, seconds, charges, positions = zip(*(made for _, made in finished), strict=True)
        numbers = {"id": np.array(ids), "nfe": np.array(nfe), "seconds": np.array(seconds)}
        asked = {name: values[places] for name, values in self.asked.items()}
        made = MoleculeSet.from_lists(charges, positions, {**numbers, **asked})
        return made if self.branching is None else self.branching.best(made, places)
