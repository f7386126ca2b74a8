"""The arguments of the service, given as `key=value` to `python -m serve` or under `args` in a Serve config file."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
from pydantic import Field, PrivateAttr, SecretStr

from ead_core.checkpoints.addresses import scheme_of
from ead_core.checkpoints.checkpoint import PRETRAINED, Checkpoint, find_checkpoint, load_checkpoint
from ead_core.config import Section, validate
from ead_core.errors import EADError

if TYPE_CHECKING:
    from serve.jobs_store import JobStore

TERMS = (
    "checkpoint",
    "batch_molecules",
    "job_shard",
    "job_gpus",
    "max_network_calls",
    "max_job_molecules",
    "max_job_calls",
)


class ServeSettings(Section):
    """What is served, on what, and how much of it a client may ask for."""

    checkpoint: str = "qm9-deep"
    """Bundled name, checkpoint folder, or address such as models:/ead-qm9@champion."""
    replicas: int = Field(1, ge=1)
    """Copies of the model; each takes its own requests."""
    interfaces: int = Field(1, ge=1)
    """Copies of what checks requests and writes answers; with two, nobody waits when one is lost."""
    threads: int = Field(1, ge=1)
    """CPUs and torch threads of a replica; on busy cores several may be slower than one."""
    num_gpus: float = Field(0, ge=0)
    """GPUs of a replica, as in Ray; above 0 the model runs on the first."""
    max_molecules: int = Field(32, ge=1)
    """Most molecules in one request."""
    batch_molecules: int = Field(64, ge=1)
    """Most molecules of all requests that run at once; the others wait."""
    max_waiting: int = Field(64, ge=1)
    """Requests that wait for a replica before further ones are turned away with 503; a replica itself holds up to twice
    `batch_molecules`."""
    max_network_calls: int = Field(12_000, ge=2)
    """Most network calls that the settings of a request may let a molecule take."""
    max_request_calls: int = Field(100_000, ge=2)
    """Most network calls that all molecules of a request may take."""
    max_seconds: float = Field(600, gt=0, le=86_400)
    """Seconds after which a request that is not finished gets 504; a client may ask for less."""
    jobs_folder: str = "ead-jobs"
    """Folder of the jobs and their molecules, or s3://bucket/folder with `jobs_database`; all nodes must reach it."""
    jobs_database: str = ""
    """PostgreSQL for the jobs, as postgresql://ead@host/ead; left out, it is a file of SQLite in the folder."""
    jobs_at_once: int = Field(1, ge=1)
    """Jobs that are worked at together; the others wait."""
    job_actors: int = Field(1, ge=1)
    """Processes of a job, each on one CPU that no replica of the model has."""
    job_gpus: float = Field(0, ge=0, le=1)
    """GPUs of each process of a job."""
    job_shard: int = Field(64, ge=1, le=10_000)
    """Molecules of a job that are made together, and then can be read."""
    max_job_molecules: int = Field(10_000, ge=1, le=10_000_000)
    """Most molecules of a job."""
    max_job_calls: int = Field(100_000_000, ge=2)
    """Most network calls that all molecules of a job may take."""
    max_jobs_waiting: int = Field(100, ge=1)
    """Jobs that nobody has begun before further ones are turned away with 503."""

    # Where replicas find an address; not in their environment, which Ray shows, since it may hold a password.
    _store: SecretStr | None = PrivateAttr(None)

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Where Ray Serve hands over the arguments of the command line: a mistake becomes one sentence."""
        with command_line_errors():
            settings: Self = validate(cls, obj)
        return settings

    @property
    def in_registry(self) -> bool:
        """Whether the checkpoint is an address in MLflow."""
        return scheme_of(self.checkpoint) is not None

    def located(self) -> "ServeSettings":
        """The settings with folders made absolute, since replicas run in other ones.

        A bundled checkpoint keeps its name: every node has its own copy. An alias of the registry becomes the version
        that it means now, which every node fetches, so that all replicas serve the same.

        Raises:
            CheckpointError: there is no such checkpoint.
            ConfigError: a place for jobs that cannot be one.
        """
        folder = self.jobs_folder if "://" in self.jobs_folder else str(Path(self.jobs_folder).absolute())
        return self.model_copy(update={"jobs_folder": folder})._with_checkpoint()

    def _with_checkpoint(self) -> "ServeSettings":
        if self.in_registry:
            from ead_platform.cluster.settings import Settings
            from ead_platform.registry.resolver import pinned

            store = Settings.from_environment()
            fixed = self.model_copy(update={"checkpoint": pinned(self.checkpoint, store)})
            fixed._store = SecretStr(store.tracking_uri)
            return fixed
        directory = find_checkpoint(self.checkpoint).absolute()
        checkpoint = self.checkpoint if directory.parent == PRETRAINED else str(directory)
        return self.model_copy(update={"checkpoint": checkpoint})

    def load(self) -> Checkpoint:
        """The checkpoint, in any process that these settings have been handed to."""
        if self._store is not None:
            os.environ["MLFLOW_TRACKING_URI"] = self._store.get_secret_value()
        return load_checkpoint(self.checkpoint)

    def of_jobs(self) -> "ServeSettings":
        """With the limits of a job in the place of those of a request."""
        return self.model_copy(
            update={"max_molecules": self.max_job_molecules, "max_request_calls": self.max_job_calls}
        )

    def folder_of(self, job: str) -> str:
        """Where the molecules of a job lie."""
        return f"{self.jobs_folder.rstrip('/')}/{job}"

    def job_store(self) -> "JobStore":
        """The database of jobs; what is missing of it is made (StoreError, ConfigError: it cannot be used)."""
        from serve.jobs_store import open_store

        return open_store(self.jobs_folder, self.jobs_database)

    @property
    def terms(self) -> str:
        """As JSON, what a job's molecules depend on beside its request."""
        return json.dumps(self.model_dump(include=set(TERMS)))

    def under(self, terms: str) -> "ServeSettings":
        """These settings, but for the `terms` that a job was accepted with."""
        return self.model_copy(update=json.loads(terms))


@contextmanager
def command_line_errors() -> Iterator[None]:
    """A user's mistake as the exception that the `serve` command prints without a traceback, with exit code 1."""
    try:
        yield
    except EADError as error:
        raise click.ClickException(str(error)) from error
