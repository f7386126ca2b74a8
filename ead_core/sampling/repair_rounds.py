"""Repairing the molecules of a set, round after round, until they are good.

The result is a selection with partial restarts: only what is good afterwards takes the place of a molecule.

Legend: M molecules, B of them, N atoms.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.store import MoleculeSet
from ead_core.sampling.account import REPAIRED
from ead_core.sampling.engine import Engine
from ead_core.sampling.repair import Entry, ids_of, known_numbers, take_in

Criterion = Callable[[MoleculeSet], NDArray[np.bool_]]
Progress = Callable[[int], object]
TOGETHER = 1024  # molecules whose states are held at once


@dataclass(frozen=True)
class Repaired:
    """What became of M molecules.

    Attributes:
        molecules: in the order in which they were given; whoever was not mended is unchanged. To their properties come
            `repaired`, the round that mended them (0: none did), and `nfe`, all network calls including those before.
        tried: [M] who was repaired, with success or without.
        freed: of each molecule, which atoms [N] were noised.
    """

    molecules: MoleculeSet
    tried: NDArray[np.bool_]
    freed: list[NDArray[np.bool_]]

    @property
    def mended(self) -> NDArray[np.bool_]:
        """[M] who was repaired with success."""
        return np.asarray(self.molecules.properties[REPAIRED]) > 0


@torch.inference_mode()
def repair(
    checkpoint: Checkpoint,
    molecules: MoleculeSet,
    config: SamplerConfig,
    good: Criterion,
    tried: NDArray[np.bool_],
    seed: int = 0,
    progress: Progress = lambda done: None,
) -> Repaired:
    """Repair some molecules until they are good, at most `config.repairs` times each.

    Every round begins with the molecules as they were given, so that a mended one shares with its original all that
    the level leaves, and its held atoms.

    Args:
        checkpoint: the model.
        molecules: M finished ones of any origin.
        config: settings of the sampler; the fields `repair_…` say how.
        good: which molecules of a set are good, e.g. by `criteria.meets`.
        tried: [M] whom to repair, e.g. who is not good; each must be one that the model can take in (`unfit`).
        seed: of the noise; see `take_in`.
        progress: receives the number of rounds that have been made or are no longer needed.

    Raises:
        ConfigError: settings that do not fit each other or the checkpoint, or a molecule too large for the memory.
        DataError: an element that the model does not know.
    """
    ids, course = ids_of(molecules), _Course(molecules)
    engine = Engine(checkpoint, config.batch_size, config.memory_budget, config.precision)
    waiting = np.flatnonzero(tried)
    for attempt in range(1, config.repairs + 1):
        for first in range(0, len(waiting), TOGETHER):
            rows = waiting[first : first + TOGETHER]
            entries = take_in(checkpoint, course.given.select(rows), config, seed, attempt, ids[rows])
            for entry, made in _run(engine, entries, progress):
                fine = good(made)
                course.add(rows[entry.rows], entry, made, fine)
                course.rounds[rows[entry.rows][fine]] = attempt
                progress(int(fine.sum()) * (config.repairs - attempt))
        waiting = waiting[course.rounds[waiting] == 0]
    return Repaired(course.outcome(), tried, course.freed)


def _run(engine: Engine, entries: list[Entry], progress: Progress) -> Iterator[tuple[Entry, MoleculeSet]]:
    """What becomes of the molecules of each entry."""
    entered = {engine.resume(entry.state, entry.process): entry for entry in entries}
    while engine.busy:
        before = engine.finished
        done = engine.step()
        progress(engine.finished - before)
        for request_id, made in done.items():
            yield entered[request_id], entered[request_id].restore(made)


@dataclass
class _Course:
    """What has happened to the molecules so far; `given` are they as they were, with what has been spent on them."""

    given: MoleculeSet
    mended: dict[int, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rounds = np.zeros(len(self.given), dtype=np.int64)
        self.freed = [np.zeros(size, dtype=bool) for size in self.given.num_atoms]

    def add(self, places: NDArray[np.int64], entry: Entry, made: MoleculeSet, fine: NDArray[np.bool_]) -> None:
        """An attempt with the molecules at `places` [B], and whether they are good now [B]."""
        calls = known_numbers(self.given, "nfe").astype(np.int64)
        calls[places] = made.properties["nfe"]
        spent: dict[str, NDArray[Any]] = {"nfe": calls}
        if "seconds" in self.given.properties:
            spent["seconds"] = known_numbers(self.given, "seconds")
            spent["seconds"][places] += made.properties["seconds"]
        self.given = replace(self.given, properties={**self.given.properties, **spent})
        for index, place in enumerate(places.tolist()):
            self.freed[place] = entry.freed[index]
            if fine[index]:
                self.mended[place] = made.molecule(index)

    def outcome(self) -> MoleculeSet:
        """The molecules as they are now."""
        atoms = [self.mended.get(place, self.given.molecule(place)) for place in range(len(self.given))]
        charges, positions = map(list, zip(*atoms, strict=True))
        calls = known_numbers(self.given, "nfe").astype(np.int64)
        told = {"nfe": calls, REPAIRED: self.rounds}
        return MoleculeSet.from_lists(charges, positions, {**self.given.properties, **told})
