"""The MLflow runs of a sweep: one parent, and a nested run per trial.

Trials are keyed by their id: writing one twice leaves one run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from ead_platform.settings import Settings
from ead_platform.store import open_store

TRIAL_TAG = "ead.trial"


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
        with open_store(settings) as (self._client, self._experiment):
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
