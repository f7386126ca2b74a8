"""MLflow runs: of a sweep (one parent, a nested run per trial) and of a training.

Only the driver talks to the store, so a local SQLite file serves a whole cluster. Runs are keyed, a trial by its id,
a training by its place in the storage: writing one twice leaves one run.
"""

import hashlib
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from ead_core.errors import one_line
from ead_platform.recipe import Recipe
from ead_platform.settings import Settings
from ead_platform.store import STORE_ERRORS, opened_store

TRIAL_TAG, TRAINING_TAG = "ead.trial", "ead.training"


class SweepTracker:
    """Writes one sweep.

    Args:
        settings: names the store.
        parent_id: run to continue, or None to open a new one.
        name: of a new parent run.
        params: of a new parent run.

    Raises:
        EADError: the store cannot be reached or refuses the runs.
    """

    def __init__(self, settings: Settings, parent_id: str | None, name: str, params: Mapping[str, Any]) -> None:
        with opened_store(settings) as (self._client, self._experiment):
            self.parent_id = self._open(parent_id, name, params)

    def _open(self, parent_id: str | None, name: str, params: Mapping[str, Any]) -> str:
        if parent_id is None:
            run = self._client.create_run(self._experiment, run_name=name, tags={"ead.kind": "sweep"})
            parent_id = run.info.run_id
            for key, value in params.items():
                self._client.log_param(parent_id, key, value)
        else:
            self._client.update_run(parent_id, status="RUNNING")
        return parent_id

    def log_trial(self, trial: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Write a finished trial unless it is already there; half-written ones are replaced."""
        for run in self._trials(trial):
            if run.info.status == "FINISHED":
                return
            self._client.delete_run(run.info.run_id)
        tags = {MLFLOW_PARENT_RUN_ID: self.parent_id, TRIAL_TAG: trial, MLFLOW_RUN_NAME: trial}
        run_id = self._client.create_run(self._experiment, tags=tags).info.run_id
        for key, value in params.items():
            self._client.log_param(run_id, key, value)
        for key, value in metrics.items():
            self._client.log_metric(run_id, key, float(value))
        self._client.set_terminated(run_id)

    def finish(self, metrics: Mapping[str, float], artifacts: list[Path], status: str = "FINISHED") -> None:
        """Close the parent with its summary and files."""
        for key, value in metrics.items():
            self._client.log_metric(self.parent_id, key, float(value))
        for path in artifacts:
            self._client.log_artifact(self.parent_id, str(path))
        self._client.set_terminated(self.parent_id, status=status)

    def _trials(self, trial: str) -> list[Run]:
        condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.parent_id}' and tags.`{TRIAL_TAG}` = '{trial}'"
        return list(self._client.search_runs([self._experiment], condition))


class TrainingTracker:
    """Writes one training; a run that is continued goes on in the same MLflow run.

    Nothing is written before the first report: what the workers refuse leaves no trace.

    Args:
        settings: names the store.
        recipe: its flat keys become the parameters, its place in the storage tells runs apart.

    Raises:
        EADError: the store cannot be reached.
    """

    def __init__(self, settings: Settings, recipe: Recipe) -> None:
        self.store, self._recipe = settings.tracking_uri, recipe
        self._run_id: str | None = None
        with opened_store(settings) as (self._client, self._experiment):
            pass

    def _open(self) -> str:
        """The id of the run, found by its place or new."""
        place = self._recipe.place
        key = hashlib.sha256(place.encode()).hexdigest()  # a path may hold what MLflow's filter cannot quote
        found = self._client.search_runs([self._experiment], f"tags.`{TRAINING_TAG}` = '{key}'")
        if found:
            run = found[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
        else:
            tags = {"ead.kind": "training", "ead.storage": place, TRAINING_TAG: key}
            run = self._client.create_run(self._experiment, run_name=self._recipe.platform.name, tags=tags)
        run_id = str(run.info.run_id)
        self._describe(run_id, run.data.params)
        return run_id

    def _describe(self, run_id: str, known: Mapping[str, str]) -> None:
        """Parameters cannot be changed in MLflow; what a continued run changes becomes a tag."""
        params = {name: str(value) for name, value in self._recipe.flat().items()}
        new = [Param(name, value) for name, value in params.items() if name not in known]
        self._client.log_batch(run_id, params=new)
        for name, value in params.items():
            if known.get(name, value) != value:
                self._client.set_tag(run_id, f"changed.{name}", value)

    def log(self, row: Mapping[str, float]) -> None:
        """Write one report of `fit`; a store that fails costs the row, not the training."""
        now = int(1000 * time.time())
        metrics = [Metric(name, float(v), now, int(row["step"])) for name, v in row.items() if name != "step"]
        try:
            self._run_id = self._run_id or self._open()
            self._client.log_batch(self._run_id, metrics=metrics)
        except STORE_ERRORS as error:
            warnings.warn(f"MLflow did not take the figures of step {row['step']} ({one_line(error)}).", stacklevel=2)

    def finish(self, status: str, checkpoint: Path) -> None:
        """Close the run with the files of a checkpoint directory: pictures at the top, the rest in `checkpoint/`."""
        if self._run_id is None:
            return
        for path in sorted(checkpoint.iterdir()):
            self._client.log_artifact(self._run_id, str(path), None if path.suffix == ".png" else "checkpoint")
        self._client.set_terminated(self._run_id, status=status)
