"""Refused attempts of a delivery on their way to be repaired, round after round, until they are accepted or given up.

Every round begins with the molecule as it was first refused (decision 21). What is refused for what others are, a
duplicate for instance, is not repaired: as a molecule it is good.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import FAILED, Verdict
from ead_core.sampling.account import REPAIRED
from ead_core.sampling.engine import Engine
from ead_core.sampling.pieces import Entered
from ead_core.sampling.repair import freed_atoms, take_in, unfit
from ead_core.sampling.requests import Request
from ead_core.sampling.streams import Streams


@dataclass(frozen=True)
class Repair:
    """A piece of work: refused molecules, to be noised and denoised again, all of them as a whole or none.

    Attributes:
        request: whose attempts they are.
        refused: as they were first refused, with all network calls since then.
        attempt: which round it is, from 1.
    """

    request: Request
    refused: MoleculeSet
    attempt: int

    def __len__(self) -> int:
        return len(self.refused)

    def enter(self, engine: Engine) -> Entered:
        """Submit them to an engine."""
        ids = np.asarray(self.refused.properties["id"], dtype=np.int64)
        sampler, seed = self.request.sampler, self.request.seed
        (entry,) = take_in(engine.checkpoint, self.refused, sampler, seed, self.attempt, ids)
        return Entered(engine.resume(entry.state, entry.process), lambda made: self._told(entry.restore(made)))

    def _told(self, made: MoleculeSet) -> MoleculeSet:
        """What was made of them, with all that the refused molecules tell."""
        before = self.refused.properties
        spent = {"nfe": made.properties["nfe"], REPAIRED: np.full(len(made), self.attempt)}
        if "seconds" in before:
            spent["seconds"] = np.asarray(before["seconds"]) + np.asarray(made.properties["seconds"])
        return replace(made, properties={**before, **spent})


@dataclass
class Repairs:
    """Who is being repaired.

    Attributes:
        checkpoint: the model.
        request: whose attempts are repaired; its sampler section says how, and how often.
    """

    checkpoint: Checkpoint
    request: Request
    _first: dict[int, MoleculeSet] = field(default_factory=dict)  # by id, as first refused

    def sort(self, molecules: MoleculeSet, verdicts: list[Verdict]) -> tuple[MoleculeSet, list[Verdict], list[Repair]]:
        """Judged molecules and verdicts that stand, and the pieces of work for those that are repaired."""
        if not self._possible:
            return molecules, verdicts, []
        rounds = np.asarray(molecules.properties.get(REPAIRED, np.zeros(len(molecules))), dtype=np.int64)
        again = [row for row, verdict in enumerate(verdicts) if self._may_try(verdict, int(rounds[row]))]
        if again:
            fits = unfit(self.checkpoint, molecules.select(again))
            again = [row for row, reason in zip(again, fits, strict=True) if not reason]
        groups: dict[tuple[int, bool], list[MoleculeSet]] = defaultdict(list)
        for row in again:
            original = self._original(molecules.select([row]))
            whole = bool(freed_atoms(original[0], self.request.sampler).all())
            groups[int(rounds[row]) + 1, whole].append(original)
        pieces = [Repair(self.request, MoleculeSet.concatenate(some), attempt) for (attempt, _), some in groups.items()]
        stay = np.setdiff1d(np.arange(len(molecules)), again)
        for number in molecules.properties["id"][stay].tolist():
            self._first.pop(number, None)
        settled = molecules.select(stay)
        return (
            replace(settled, properties={**settled.properties, REPAIRED: rounds[stay]}),
            [verdicts[row] for row in stay],
            pieces,
        )

    @property
    def _possible(self) -> bool:
        """Whether anything can be repaired: not where a fragment must stay, or sizes or the policy are not ours."""
        own = self.request.fragment is not None or self.request.policy is not None
        return self.request.sampler.repairs > 0 and not own and not self.checkpoint.atom_types.has_dummies

    def _may_try(self, verdict: Verdict, rounds: int) -> bool:
        return verdict.refusal not in ("", FAILED) and rounds < self.request.sampler.repairs

    def _original(self, refused: MoleculeSet) -> MoleculeSet:
        """A molecule as it was first refused, with what has been spent on it since."""
        first = self._first.setdefault(int(refused.properties["id"][0]), refused)
        spent = {name: refused.properties[name] for name in ("nfe", "seconds") if name in refused.properties}
        return replace(first, properties={**first.properties, **spent})


def settle(
    checkpoint: Checkpoint, request: Request, molecules: MoleculeSet, judge: Callable[[MoleculeSet], list[Verdict]]
) -> tuple[MoleculeSet, list[Verdict]]:
    """Attempts of a request, repaired where they are refused, and the verdicts that stand, in the order of ids."""
    repairs, settled, standing = Repairs(checkpoint, request), list[MoleculeSet](), list[Verdict]()
    with Streams(checkpoint, request.sampler) as streams:
        waiting = [molecules]
        while waiting:
            made = waiting.pop()
            done, found, pieces = repairs.sort(made, judge(made))
            settled.append(done)
            standing += found
            for piece in pieces:
                streams.submit(piece)
            while streams.busy:
                waiting += streams.step().values()
    joined = MoleculeSet.concatenate([one for one in settled if len(one)])
    order = np.argsort(joined.properties["id"])
    return joined.select(order), [standing[row] for row in order]
