"""The MLflow runs of a sweep: one parent, and a nested run per trial.

Trials are keyed by their id: writing one twice leaves one run.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import LifecycleStage, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from ead_platform.cluster.settings import Settings
from ead_platform.tracking.store import open_store, store_errors

TRIAL_TAG, REASON_TAG = "ead.trial", "ead.reason"


class SweepTracker:
    """Writes one sweep; whatever it is asked to do raises a StoreError if the store fails.

    Args:
        settings: names the store.
        parent_id: run to continue, or None to open a new one. One that is gone is replaced by a new one.
        name: of a new parent run.
        params: of a new parent run.

    Raises:
        EADError: the store cannot be reached or refuses the runs.
    """

    def __init__(self, settings: Settings, parent_id: str | None, name: str, params: Mapping[str, Any]) -> None:
        self._settings = settings
        with open_store(settings) as (self._client, self._experiment):
            self.parent_id = self._open(parent_id, name, params)

    def _open(self, parent_id: str | None, name: str, params: Mapping[str, Any]) -> str:
        if parent_id is not None and self._exists(parent_id):
            self._client.update_run(parent_id, status="RUNNING")
            return parent_id
        run = self._client.create_run(self._experiment, run_name=name, tags={"ead.kind": "sweep"})
        self._client.log_batch(run.info.run_id, params=_params(params))
        return str(run.info.run_id)

    def _exists(self, run_id: str) -> bool:
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == LifecycleStage.ACTIVE)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return False
            raise

    def log_trial(
        self, trial: str, params: Mapping[str, Any], metrics: Mapping[str, float], reason: str | None = None
    ) -> None:
        """Write a trial unless it is already there; half-written ones are replaced.

        Args:
            trial: its name.
            params: its settings.
            metrics: its figures.
            reason: why it has none, if it could not be measured: its run then counts as failed.
        """
        with store_errors(self._settings):
            for run in self._trials(trial):
                if run.info.status in ("FINISHED", "FAILED") and run.data.params == {
                    key: str(params[key]) for key in params
                }:
                    return
                self._client.delete_run(run.info.run_id)
            tags = {MLFLOW_PARENT_RUN_ID: self.parent_id, TRIAL_TAG: trial, MLFLOW_RUN_NAME: trial}
            tags |= {REASON_TAG: reason} if reason else {}
            run_id = self._client.create_run(self._experiment, tags=tags).info.run_id
            self._client.log_batch(run_id, metrics=_metrics(metrics), params=_params(params))
            self._client.set_terminated(run_id, status="FAILED" if reason else "FINISHED")

    def finish(self, metrics: Mapping[str, float], artifacts: list[Path], status: str = "FINISHED") -> None:
        """Close the parent with its summary and files."""
        with store_errors(self._settings):
            self._client.log_batch(self.parent_id, metrics=_metrics(metrics))
            for path in artifacts:
                self._client.log_artifact(self.parent_id, str(path))
            self._client.set_terminated(self.parent_id, status=status)

    def _trials(self, trial: str) -> list[Run]:
        condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.parent_id}' and tags.`{TRIAL_TAG}` = '{trial}'"
        return list(self._client.search_runs([self._experiment], condition))


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(key, str(value)) for key, value in values.items()]


def _metrics(values: Mapping[str, float]) -> list[Metric]:
    now = int(1000 * time.time())
    return [Metric(key, float(value), now, 0) for key, value in values.items()]
