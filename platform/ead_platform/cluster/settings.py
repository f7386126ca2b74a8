"""Where things are: tracking store, cluster address, output folders. Read from the environment once, at start.

Ray Tune changes the working directory of its workers, so every path is made absolute here.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ead_core.errors import OutputError
from ead_platform.cluster.credentials import hide_credentials

EXPERIMENT = "ead"


@dataclass(frozen=True)
class Settings:
    """The environment of a platform command.

    Attributes:
        tracking_uri: MLflow store, from MLFLOW_TRACKING_URI or `mlflow.db` in the starting folder.
        artifact_root: where a new local experiment keeps files; None when the store decides.
        ray_address: from RAY_ADDRESS; None, and `local`, start a private cluster.
        inside_job: whether this process is the driver of a submitted Ray job.
    """

    tracking_uri: str = field(repr=False)
    artifact_root: str | None
    ray_address: str | None
    inside_job: bool

    @classmethod
    def from_environment(cls) -> "Settings":
        """Settings of the process as it was started."""
        folder = Path.cwd()
        given, ray_address = os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("RAY_ADDRESS")
        return cls(
            tracking_uri=given or f"sqlite:///{folder / 'mlflow.db'}",
            artifact_root=None if given else (folder / "mlruns").as_uri(),
            ray_address=None if ray_address == "local" else ray_address,  # as Ray takes it
            inside_job="RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ,
        )

    @property
    def joins_cluster(self) -> bool:
        """Whether there is a cluster to join; otherwise a command starts one of its own on this machine."""
        return self.inside_job or bool(self.ray_address)

    def output_folder(self, path: Path) -> Path:
        """The path of an output folder made absolute.

        Raises:
            OutputError: a relative path inside a submitted job, whose working folder is a copy that is thrown away.
        """
        if self.inside_job and not path.is_absolute():
            raise OutputError(
                f"the path {path} is relative, but a submitted job runs in a temporary copy of the folder; "
                "give an absolute path on storage that outlives the job."
            )
        return path.absolute()

    @property
    def shown_uri(self) -> str:
        """The tracking store's address without its password."""
        return hide_credentials(self.tracking_uri)

    @property
    def ui_command(self) -> str:
        """What serves the MLflow pages of a store that is no server itself."""
        return f"mlflow ui --backend-store-uri {self.shown_uri} --host 127.0.0.1"
