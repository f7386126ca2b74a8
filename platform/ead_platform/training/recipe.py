"""A recipe with its `platform:` section: how many workers train, and where their checkpoints are kept."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from ead_core.checkpoints.addresses import scheme_of
from ead_core.config import Config, Section
from ead_core.config.sections import GENERATOR
from ead_core.data.dataset import resolve_data_path
from ead_core.errors import DataError
from ead_platform.cluster.settings import Settings


class PlatformConfig(Section):
    """Where a training on Ray runs, and on how many workers; read by `platform/jobs/train.py` alone."""

    num_workers: int = Field(1, ge=1)
    """Workers that share each batch; the result does not depend on their number."""
    min_workers: int | None = Field(None, ge=1)
    """Fewest workers with which a training starts, or goes on after a loss, until there is room for more; null waits
    for all."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPUs of a worker."""
    gpus_per_worker: int = Field(0, ge=0, le=1)
    """GPUs of a worker; 0 trains on the CPU."""
    storage_path: str = "~/ead_runs"
    """Where checkpoints are kept: a folder that all nodes share, or an address such as s3://bucket/runs."""
    name: str | None = None
    """Name of the run, and of its folder in `platform.storage_path`; null is the file name of the recipe."""
    max_failures: int = Field(3, ge=0)
    """How often lost workers are replaced before the training fails."""
    card_molecules: Annotated[int, GENERATOR] = Field(256, ge=0)
    """Molecules that are made for the evaluation card after the last step; 0 leaves it out."""
    system_metrics: bool = True
    """Whether the load of the machine that starts the training is recorded."""

    @property
    def fewest_workers(self) -> int:
        """How many workers there must be room for."""
        return self.num_workers if self.min_workers is None else self.min_workers

    @model_validator(mode="after")
    def _workers_are_a_range(self) -> "PlatformConfig":
        if self.fewest_workers > self.num_workers:
            raise ValueError(f"min_workers must be at most num_workers ({self.num_workers}), not {self.min_workers}")
        return self

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"must be letters, digits, '.', '_' and '-', not '{name}'")
        return name


class Recipe(Config):
    """A complete recipe for a training on Ray."""

    platform: PlatformConfig = PlatformConfig()

    @property
    def core(self) -> Config:
        """The recipe without its platform section, as a checkpoint stores it."""
        return Config(**self.model_dump(exclude={"platform"}))

    @property
    def place(self) -> str:
        """Where everything of this run is stored."""
        return f"{self.platform.storage_path}/{self.platform.name}"

    @property
    def card_molecules(self) -> int:
        """How many molecules the evaluation card is made of; 0 for none, as of a judge."""
        from ead_core.training.objectives import OBJECTIVES

        return self.platform.card_molecules if OBJECTIVES[self.training.objective].generates else 0

    @property
    def model(self) -> str:
        """Where the newest model is published, under a name that does not change."""
        return f"{self.place}/model"

    def reworded(self, sentence: str, folder: str) -> str:
        """A sentence of the core about a folder, reworded for this run, whose folder follows from its name."""
        return sentence.replace(folder, self.place).replace("another folder", "another platform.name")

    def located(self, name: str, settings: Settings) -> "Recipe":
        """The recipe with absolute paths for what exists here, and `name` for a run that has none.

        Workers have other working folders. On a cluster, a data file that is missing here is left to the nodes. An
        alias as `training.initial` becomes the version that it means now, which every node fetches.

        Raises:
            CheckpointError: nothing at the address of `training.initial`.
            DataError: there is no data file.
            OutputError: a relative storage path inside a submitted job.
        """
        changes: dict[str, str] = {}
        try:
            changes["data.path"] = str(resolve_data_path(self.data.path).absolute())
        except DataError:
            if not settings.joins_cluster:
                raise
        initial = self.training.initial
        if initial is not None and scheme_of(initial):
            from ead_platform.registry.resolver import pinned

            changes["training.initial"] = pinned(initial, settings)
        elif initial is not None and Path(initial).exists():
            changes["training.initial"] = str(Path(initial).absolute())
        if self.platform.name is None:
            changes["platform.name"] = name
        storage = self.platform.storage_path
        if "://" not in storage:
            changes["platform.storage_path"] = str(settings.output_folder(Path(storage).expanduser()))
        return self.override(changes)
