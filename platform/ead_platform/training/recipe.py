"""A recipe with its `platform:` section: how many workers train, and where their checkpoints are kept."""

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from ead_core.checkpoints.addresses import scheme_of
from ead_core.config import Config, Section
from ead_core.data.dataset import resolve_data_path
from ead_core.errors import DataError
from ead_platform.cluster.settings import Settings


class PlatformConfig(Section):
    """Where and how wide a training runs.

    `storage_path` is a folder that all nodes share, or an address such as s3://bucket/runs; runs lie in it under
    their `name` (default: the recipe's file name). `max_failures` is how often lost workers are replaced. With
    `min_workers` a training starts, or goes on after a loss, with as many of its `num_workers` as there is room for,
    and takes more when there is; the result does not depend on their number.
    A generator that has reached its last step makes `card_molecules` for its evaluation card; 0 leaves it out.
    `system_metrics` records the load of the machine that starts the training.
    """

    num_workers: int = Field(1, ge=1)
    min_workers: int | None = Field(None, ge=1)
    cpus_per_worker: int = Field(1, ge=1)
    gpus_per_worker: int = Field(0, ge=0, le=1)
    storage_path: str = "~/ead_runs"
    name: str | None = None
    max_failures: int = Field(3, ge=0)
    card_molecules: int = Field(256, ge=0)
    system_metrics: bool = True

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

    def retold(self, sentence: str, folder: str) -> str:
        """What the core says of a folder, said of this run, whose place follows from its name."""
        return sentence.replace(folder, self.place).replace("another folder", "another platform.name")

    def located(self, name: str, settings: Settings) -> "Recipe":
        """With absolute paths for what exists here, and `name` for a run that has none.

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
