"""The MLflow store: opening it, and telling in one sentence why it cannot be used."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from ead_core.errors import EADError, one_line
from ead_platform.settings import EXPERIMENT, Settings

STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)


class StoreError(EADError):
    """The MLflow store cannot be reached, or refuses what is asked of it."""


@contextmanager
def opened_store(settings: Settings) -> Iterator[tuple[MlflowClient, str]]:
    """A client and the id of our experiment; for the length of the block failures become one sentence.

    Raises:
        StoreError: the store cannot be used.
        EADError: a submitted job that would have a store of its own.
    """
    if settings.inside_job and settings.artifact_root:
        raise EADError(
            "MLFLOW_TRACKING_URI is not set, and a submitted job runs in a temporary copy of the folder, where a "
            "store of its own would be lost; name a store that the cluster reaches."
        )
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a wrong address must not wait for minutes
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it creates
    try:
        mlflow.set_tracking_uri(settings.tracking_uri)
        client = MlflowClient(settings.tracking_uri)
        yield client, _experiment_id(client, settings)
    except STORE_ERRORS as error:
        raise StoreError(f"the MLflow store {settings.tracking_uri} cannot be used ({one_line(error)}).") from error


def _experiment_id(client: MlflowClient, settings: Settings) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return str(experiment.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=settings.artifact_root))
