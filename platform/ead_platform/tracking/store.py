"""The MLflow store: opening it, and one sentence on why it cannot be used.

Only the driver talks to the store, so a local SQLite file serves a whole cluster.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ead_core.errors import EADError, one_line
from ead_platform.cluster.credentials import hide_credentials
from ead_platform.cluster.settings import EXPERIMENT, Settings

STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
LOCAL_PAGES = "http://127.0.0.1:5000"  # of `make ui`
DATABASE_SERVERS = ("postgresql", "mysql", "mssql")
MANNERS = {  # unless the user says otherwise; a wrong address must not cost minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "PGCONNECT_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class StoreError(EADError):
    """The MLflow store cannot be reached, or refuses a request."""


@contextmanager
def open_store(settings: Settings) -> Iterator[tuple[MlflowClient, str]]:
    """A client and the id of our experiment; for the length of the block failures become one sentence.

    Raises:
        StoreError: the store cannot be reached or refuses a request of the block.
        EADError: a submitted job that would have a store of its own.
    """
    if settings.inside_job and settings.artifact_root:
        raise EADError(
            "MLFLOW_TRACKING_URI is not set, and a submitted job runs in a temporary copy of the folder, where a "
            "store of its own would be lost; name a store that the cluster reaches."
        )
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every table that it creates
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # and prints what is raised as well
    with store_errors(settings):
        _require_answer(settings.tracking_uri)
        mlflow.set_tracking_uri(settings.tracking_uri)
        client = MlflowClient(settings.tracking_uri)
        yield client, _experiment_id(client, settings)


def where_to_compare(settings: Settings) -> str:
    """How to see the runs of a store; MLflow's front page opens another view, so the whole address is given."""
    try:
        with open_store(settings) as (_, experiment):
            page = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
    except EADError:
        page = ""
    if settings.tracking_uri.startswith("http"):
        return f"compare the runs at {settings.shown_uri.rstrip('/')}{page}"
    return f"compare the runs: `make ui`, or {settings.ui_command}; then open {LOCAL_PAGES}{page}"


@contextmanager
def store_errors(settings: Settings) -> Iterator[None]:
    """For the length of a block failures of the store become one sentence (StoreError) without its password."""
    try:
        yield
    except (*STORE_ERRORS, ImportError) as error:  # the latter without the extra `postgres`
        reason = hide_credentials(_reason(error), settings.tracking_uri)
        raise StoreError(f"the MLflow store {settings.shown_uri} cannot be used ({reason}).") from error


def _reason(error: Exception) -> str:
    """What a database says, without the whole statement that it refused."""
    return one_line(error).partition(" [SQL: ")[0]


def _require_answer(uri: str) -> None:
    """Fail at once where no database answers; MLflow would try for minutes."""
    if uri.startswith(DATABASE_SERVERS):
        engine = create_engine(uri, poolclass=NullPool)
        engine.connect().close()


def _experiment_id(client: MlflowClient, settings: Settings) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return str(experiment.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=settings.artifact_root))


@contextmanager
def lossy(what: str, address: str) -> Iterator[None]:
    """A store, at an address, that fails within the block costs `what`, not the work that is being recorded."""
    try:
        yield
    except STORE_ERRORS as error:
        reason = hide_credentials(_reason(error), address)
        warnings.warn(f"MLflow did not take {what} ({reason}).", stacklevel=3)
