"""From a candidate to a verdict: register, examine both sides, decide, record."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ead_core.checkpoints.addresses import scheme_of
from ead_core.checkpoints.checkpoint import find_checkpoint, load_checkpoint
from ead_core.common.files import write_aside
from ead_core.errors import CheckpointError
from ead_core.evaluation.report import CARD, PAGE, TEXT
from ead_core.evaluation.table import TABLE
from ead_platform.cluster.settings import Settings
from ead_platform.registry.examination import Examined, Examiner
from ead_platform.registry.gate import METRICS, Check, Decision, GateConfig, decide
from ead_platform.registry.promotion_report import PICTURE, compare_in_a_picture, interval_of
from ead_platform.registry.resolver import fetched
from ead_platform.registry.versions import PROMOTED, REFUSED, Evidence, Move, Registry, find_run

DECISION = "decision.json"
EVIDENCE = (CARD, TEXT, PAGE, TABLE)  # of either side


class Promotion:
    """Lets candidates try to become champion of a model.

    Args:
        registry: of the model.
        settings: names the store.
        examiner: samples and measures by the gate.
        gate: the conditions.
        say: receives news for people.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        examiner: Examiner,
        gate: GateConfig,
        say: Callable[[str], None],
    ) -> None:
        self._registry, self._settings, self._examiner, self._gate, self._say = registry, settings, examiner, gate, say

    def run(self, candidate: str) -> Move | None:
        """Register a candidate and decide; None if it is the champion already.

        The alias is moved only if the champion is still the one that was compared with, else the candidate is
        compared with the new one: of two promotions at the same time the later has to beat the earlier.

        Args:
            candidate: training run (id or name), checkpoint folder, bundled name or address.

        Raises:
            CheckpointError: nothing of that kind, or a judge.
            ConfigError: the gate's settings do not fit the model.
        """
        version = self._register(candidate)
        challenger: Examined | None = None
        while (champion := self._registry.champion()) != version:
            challenger = challenger or self._examine(version)
            holder = None if champion is None else self._examine(champion)
            decision = decide(challenger.outcomes, None if holder is None else holder.outcomes, self._gate)
            move = Move(PROMOTED if decision.passed else REFUSED, champion, version, decision.reason)
            with self._registry.alone():
                if self._registry.champion() == champion:
                    self._record(move, candidate, decision, challenger, holder)
                    return move
            self._say(f"{self._registry.name} has got another champion meanwhile; comparing again")
        return None

    def _register(self, candidate: str) -> int:
        folder = find_checkpoint(self._located(candidate))
        checkpoint = load_checkpoint(folder)
        self._examiner.plan(checkpoint)  # what is wrong is said before anything is written
        version, new = self._registry.register(folder, checkpoint, candidate)
        name = self._registry.name
        self._say(f"{candidate} {'is now' if new else 'is known as'} version {version} of {name}")
        return version

    def _located(self, candidate: str) -> str:
        """Something that `find_checkpoint` knows."""
        if scheme_of(candidate):
            return candidate
        try:
            return str(find_checkpoint(candidate))
        except CheckpointError as error:
            if address := find_run(candidate, self._settings):
                return address
            raise CheckpointError(f"{str(error).rstrip('.')}, nor is it a training run in MLflow.") from error

    def _examine(self, version: int) -> Examined:
        return self._examiner.examine(load_checkpoint(fetched(self._registry.address(version), self._settings)))

    def _record(
        self, move: Move, origin: str, decision: Decision, candidate: Examined, champion: Examined | None
    ) -> None:
        sides = {"candidate": candidate} | ({"champion": champion} if champion else {})
        params = {"candidate": origin, "from": move.before, "to": move.after, **self._gate.flat()}
        metrics = {key: value for name, side in sides.items() for key, value in figures(name, side).items()}
        metrics |= {key: value for check in decision.checks for key, value in check_figures(check).items()}
        files = [(side.folder / file, name) for name, side in sides.items() for file in EVIDENCE]
        with tempfile.TemporaryDirectory(prefix="ead-") as scratch:
            document, picture = Path(scratch, DECISION), Path(scratch, PICTURE)
            with write_aside(document) as aside:
                aside.write_text(json.dumps(_document(move, self._gate, decision.checks), indent=1) + "\n")
            compare_in_a_picture(decision.checks, list(sides.values()), picture)
            self._registry.record(move, Evidence(params, metrics, [*files, (document, ""), (picture, "")]))


def figures(name: str, side: Examined) -> dict[str, float]:
    """Shares with their intervals, and the cost, of one side."""
    found = {f"{name}.nfe": float(side.outcomes.calls.mean()), f"{name}.seconds": side.outcomes.seconds}
    for metric in METRICS:
        hits = side.outcomes.hits[metric]
        low, high = interval_of(hits)
        found |= {f"{name}.{metric}": float(hits.mean()), f"{name}.{metric}_low": low, f"{name}.{metric}_high": high}
    return found


def check_figures(check: Check) -> dict[str, float]:
    """Estimate and interval of a comparison; none of a floor, which is held against a figure of the candidate."""
    if check.name.startswith("floor."):
        return {}
    low, high = check.interval or (check.value, check.value)
    return {check.name: check.value, f"{check.name}_low": low, f"{check.name}_high": high}


def _document(move: Move, gate: GateConfig, checks: Sequence[Check]) -> dict[str, object]:
    return {
        "decision": move.decision,
        "from": move.before,
        "to": move.after,
        "reason": move.reason,
        "gate": gate.model_dump(),
        "checks": [asdict(check) for check in checks],
    }
