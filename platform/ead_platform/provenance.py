"""What a run rests on besides its recipe: the code, the data, the libraries, and the machines that compute it.

Workers tell what they are, the driver tells which code it is; together they become the tags of a run.
"""

import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_GIT_DIRTY

import ead_core
from ead_core.config import Config
from ead_core.data.dataset import file_sha256
from ead_core.training.checkpoint import WEIGHTS, find_checkpoint
from ead_core.training.session import Session

DATA_TAG, INITIAL_TAG, VERSION_TAG = "ead.data.sha256", "ead.initial.sha256", "ead.version."
PACKAGES = ("torch", "numpy", "rdkit", "ray", "mlflow")
GIT_SECONDS = 10
_PACKAGE = Path(ead_core.__file__).parent


def code_tags() -> dict[str, str]:
    """Version of the package and, in a checkout, git's commit and whether tracked files differ from it."""
    tags = {f"{VERSION_TAG}ead": ead_core.__version__}
    commit = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") if _in_checkout() else None
    if commit:
        tags[MLFLOW_GIT_COMMIT] = commit.removesuffix("-dirty")
        tags[MLFLOW_GIT_DIRTY] = str(commit.endswith("-dirty"))
    return tags


def uncommitted_changes() -> str:
    """How tracked files differ from the commit; empty without git."""
    return (_git("diff", "HEAD") if _in_checkout() else None) or ""


def _in_checkout() -> bool:
    """Whether git knows this very package: an installed one may lie in the folder of another project."""
    return _git("ls-files", "--error-unmatch", "__init__.py") is not None


def _git(*arguments: str) -> str | None:
    """What git answers in the package's folder; None if it is missing or refuses."""
    command = ["git", "-C", str(_PACKAGE), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


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
    return {"host": socket.gethostname(), "processor": gpu or _cpu_name(), "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def initial_sha256(config: Config) -> str | None:
    """Of the weights that a training starts from; None if it starts from scratch.

    Raises:
        CheckpointError: `training.initial` names no checkpoint.
    """
    initial = config.training.initial
    return None if initial is None else file_sha256(find_checkpoint(initial) / WEIGHTS)


def about_session(config: Config, session: Session, machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first worker tells the driver, as plain values: the data, the machines of all, and versions."""
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
    """The tags of what `about_session` told."""
    machines = about["machines"]
    kinds = [f"{each['processor']}, threads: {each['threads']}" for each in machines]
    tags = {
        DATA_TAG: about["dataset"]["sha256"],
        "ead.hardware": "; ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)),
        "ead.hosts": ", ".join(dict.fromkeys(each["host"] for each in machines)),
        **about["versions"],
    }
    return tags | ({INITIAL_TAG: about["initial"]} if about["initial"] else {})
