"""What a run rests on besides its recipe: the code, the data, the libraries, and the machines that compute it.

Workers report what they run on, the driver which code it is; together they become the tags of a run.
"""

import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import ead_core
from ead_core.checkpoints.checkpoint import WEIGHTS, find_checkpoint
from ead_core.common.cpu import processor
from ead_core.config import Config
from ead_core.data.dataset import file_sha256
from ead_core.training.session import Session
from ead_platform.cluster.revision import DIRTY, revision

DATA_TAG, INITIAL_TAG, VERSION_TAG = "ead.data.sha256", "ead.initial.sha256", "ead.version."
PACKAGES = ("torch", "numpy", "rdkit", "ray", "mlflow")
# MLflow's own tags, written out: to import its module takes every worker a second.
GIT_COMMIT, GIT_DIRTY = "mlflow.source.git.commit", "mlflow.source.git.dirty"
PACKAGE = Path(ead_core.__file__).parent


def code_tags() -> dict[str, str]:
    """Version of the package and, where it is known, the commit and whether tracked files differ from it."""
    tags = {f"{VERSION_TAG}ead": ead_core.__version__}
    if commit := revision(PACKAGE):
        tags[GIT_COMMIT] = commit.removesuffix(DIRTY)
        tags[GIT_DIRTY] = str(commit.endswith(DIRTY))
    return tags


def versions() -> dict[str, str]:
    """Installed versions of the libraries that a result may depend on, as tags."""
    found = {}
    for package in PACKAGES:
        try:
            found[VERSION_TAG + package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """This process's host, processor and number of threads."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"host": socket.gethostname(), "processor": gpu or processor(), "threads": torch.get_num_threads()}


def initial_sha256(config: Config) -> str | None:
    """SHA-256 of the weights that a training starts from; None if it starts from scratch.

    Raises:
        CheckpointError: `training.initial` names no checkpoint.
    """
    initial = config.training.initial
    return None if initial is None else file_sha256(find_checkpoint(initial) / WEIGHTS)


def about_session(config: Config, session: Session, machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first worker reports to the driver, as plain values: the data, the machines of all, and versions."""
    statistics = session.statistics
    parts = {"train": session.train, "valid": session.valid, "test": session.test}
    return {
        "dataset": {
            "name": statistics.name,
            "sha256": statistics.sha256,
            "path": config.data.path,
            "split": config.data.split,
            "molecules": {part: len(molecules) for part, molecules in parts.items()},
        },
        "initial": initial_sha256(config),
        "machines": list(machines),
        "versions": versions(),
    }


def about_tags(about: Mapping[str, Any]) -> dict[str, str]:
    """The tags from what `about_session` reported."""
    machines = about["machines"]
    kinds = [f"{each['processor']}, threads: {each['threads']}" for each in machines]
    tags = {
        DATA_TAG: about["dataset"]["sha256"],
        "ead.hardware": "; ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)),
        "ead.hosts": ", ".join(dict.fromkeys(each["host"] for each in machines)),
        **about["versions"],
    }
    return tags | ({INITIAL_TAG: about["initial"]} if about["initial"] else {})
