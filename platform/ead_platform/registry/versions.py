"""Registered versions of a model, the alias `champion`, and the history of its moves.

Versions, aliases and runs are MLflow's own, so that its pages and its clients see the same as we do. Every verdict is
a run of kind `promotion`; together they are the history.
"""

import getpass
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_USER

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.errors import ConfigError, EADError
from ead_platform.cluster.locks import held
from ead_platform.cluster.settings import Settings
from ead_platform.registry.packing import identity_of, packed
from ead_platform.registry.resolver import store_cache
from ead_platform.tracking.provenance import code_tags
from ead_platform.tracking.runs import CHECKPOINT, KIND_TAG, find_training
from ead_platform.tracking.store import open_store

CHAMPION = "champion"
NAME, DECISION, BEFORE, AFTER, REASON = (f"ead.{name}" for name in ("model", "decision", "from", "to", "reason"))
IDENTITY, ORIGIN = "ead.identity", "ead.origin"
PROMOTION, VERSION = "promotion", "version"
PROMOTED, REFUSED, ROLLED_BACK = "promoted", "refused", "rolled back"
MOST_RUNS = 10_000
MOST_CHARACTERS = 5000  # of a tag


@dataclass(frozen=True)
class Move:
    """A verdict: what became, or did not become, of the champion.

    Attributes:
        decision: `promoted`, `refused` or `rolled back`.
        before: version that was champion; None if there was none.
        after: version that was to be champion.
        reason: one line.
        when, who, run: of the record; empty until it is written.
    """

    decision: str
    before: int | None
    after: int
    reason: str
    when: datetime | None = None
    who: str = ""
    run: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on: parameters, metrics and files (by folder of artifacts) of its run."""

    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Sequence[tuple[Path, str]] = ()


class Registry:
    """One registered model and its versions.

    Args:
        name: of the model.
        settings: names the store.

    Raises:
        ConfigError: a name that does not fit into an address.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ConfigError(f"--name must be letters, digits, '.', '_' and '-', not '{name}'.")
        self.name, self._settings = name, settings

    def address(self, version: int) -> str:
        """The address of a version, as accepted wherever a checkpoint is named."""
        return f"models:/{self.name}/{version}"

    def champion(self) -> int | None:
        """The version that the alias means; None before the first."""
        with open_store(self._settings) as (client, _):
            if not _exists(client, self.name):
                return None
            version = client.get_registered_model(self.name).aliases.get(CHAMPION)
            return None if version is None else int(version)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for other processes of this user and machine that change this model."""
        with held(store_cache(self._settings) / f"{self.name}.lock"):
            yield

    def register(self, folder: Path, checkpoint: Checkpoint, origin: str) -> tuple[int, bool]:
        """The version of a checkpoint, and whether it is new; equal checkpoints share one.

        Args:
            folder: of the checkpoint.
            checkpoint: loaded from it.
            origin: what the user called it.

        Raises:
            StoreError: the store refuses it.
        """
        identity = identity_of(checkpoint)
        with self.alone(), open_store(self._settings) as (client, experiment):
            if not _exists(client, self.name):
                client.create_registered_model(self.name)
            for known in client.search_model_versions(f"name = '{self.name}'"):
                if known.tags.get(IDENTITY) == identity:
                    return int(known.version), False
            tags = {KIND_TAG: VERSION, NAME: self.name, ORIGIN: origin, **_signed()}
            run = client.create_run(experiment, run_name=f"{self.name} from {checkpoint.name}", tags=tags)
            with packed(folder) as model:
                client.log_artifacts(run.info.run_id, str(model), "model")
            source, tags = f"{run.info.artifact_uri}/model", {IDENTITY: identity, ORIGIN: origin}
            version = client.create_model_version(self.name, source, run.info.run_id, tags=tags)
            client.set_terminated(run.info.run_id)
            return int(version.version), True

    def record(self, move: Move, evidence: Evidence) -> str:
        """Write a verdict and, unless it is a refusal, move the alias; the id of its run.

        A run that has not ended marks a move that was interrupted.
        """
        tags = {
            KIND_TAG: PROMOTION,
            NAME: self.name,
            DECISION: move.decision,
            BEFORE: "" if move.before is None else str(move.before),
            AFTER: str(move.after),
            REASON: move.reason[:MOST_CHARACTERS],
            **_signed(),
        }
        with open_store(self._settings) as (client, experiment):
            title = f"{self.name} v{move.after} {move.decision}"
            run = client.create_run(experiment, run_name=title, tags=tags)
            run_id, now = str(run.info.run_id), run.info.start_time
            params = [Param(key, str(value)) for key, value in evidence.params.items()]
            metrics = [Metric(key, float(value), now, 0) for key, value in evidence.metrics.items()]
            client.log_batch(run_id, metrics=metrics, params=params)
            for path, folder in evidence.files:
                client.log_artifact(run_id, str(path), folder or None)
            if move.decision != REFUSED:
                client.set_registered_model_alias(self.name, CHAMPION, str(move.after))
            client.set_terminated(run_id)
            return run_id

    def history(self) -> list[Move]:
        """All verdicts that took effect, oldest first."""
        condition = f"tags.`{KIND_TAG}` = '{PROMOTION}' and tags.`{NAME}` = '{self.name}' and status = 'FINISHED'"
        with open_store(self._settings) as (client, experiment):
            runs = client.search_runs(
                [experiment], condition, max_results=MOST_RUNS, order_by=["attributes.start_time ASC"]
            )
            return [_move(run) for run in runs]

    def roll_back(self, reason: str) -> Move:
        """Make the champion before this one champion again.

        Raises:
            EADError: there is none.
        """
        with self.alone():
            now = self.champion()
            target = before(self.history(), now)
            if target is None:
                raise EADError(f"{self.name} has no earlier champion to go back to.")
            move = Move(ROLLED_BACK, now, target, reason)
            self.record(move, Evidence())
            return move


def before(history: Sequence[Move], champion: int | None) -> int | None:
    """The version that was champion before `champion`; going back twice goes two steps back.

    An alias that was moved by other means counts as one step.
    """
    line: list[int] = []
    for move in history:
        if move.decision == PROMOTED:
            line.append(move.after)
        elif move.decision == ROLLED_BACK and move.after in line:
            line = line[: len(line) - line[::-1].index(move.after)]
    while line and line[-1] == champion:
        line.pop()
    return line[-1] if line else None


def find_run(text: str, settings: Settings) -> str | None:
    """The address of the checkpoint of a training, by its id or name; None if there is no such training.

    Raises:
        EADError: several trainings have this name.
    """
    with open_store(settings) as (client, experiment):
        run = find_training(client, experiment, text)
    return None if run is None else f"runs:/{run.info.run_id}/{CHECKPOINT}"


def _exists(client: MlflowClient, name: str) -> bool:
    return bool(client.search_registered_models(f"name = '{name}'"))


def _move(run: Run) -> Move:
    tags, before = run.data.tags, run.data.tags[BEFORE]
    when = datetime.fromtimestamp(run.info.start_time / 1000)
    number = int(before) if before else None
    return Move(
        tags[DECISION], number, int(tags[AFTER]), tags[REASON], when, tags.get(MLFLOW_USER, ""), run.info.run_id
    )


def _signed() -> dict[str, str]:
    """Who runs which code."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        user = "unknown"
    return {MLFLOW_USER: f"{user}@{socket.gethostname()}", **code_tags()}
