"""One Ray cluster for all platform tests, a tiny checkpoint, and a tracking store of its own per test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ead_platform.settings import Settings
from mlflow.tracking import MlflowClient

from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import PropertyStatistics
from ead_core.training.checkpoint import new_denoiser, save_recipe, save_weights

ROOT = Path(__file__).parents[2]
TINY = {
    "data": {"path": "none.npz"},
    "network": {"hidden_features": 8, "layers": 1, "edge_features": 8, "vectors": 2},
    "diffusion": {"steps": 40, "interval": 8},
}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """An untrained model with T = 40: every mechanism runs, nothing takes time."""
    directory = tmp_path_factory.mktemp("tiny")
    config = Config(**TINY)
    statistics = Statistics(atom_numbers=(1, 6, 8), sizes={4: 2, 6: 1}, num_molecules=3, name="tiny", sha256="0")
    torch.manual_seed(0)
    save_recipe(directory, config, statistics)
    save_weights(directory, new_denoiser(config, statistics).state_dict())
    return directory


@pytest.fixture(scope="session")
def conditional_checkpoint(tmp_path_factory):
    """The same, conditioned on the gap and the number of carbons; a table of nine molecules."""
    directory = tmp_path_factory.mktemp("conditional")
    config = Config(**TINY, conditioning={"properties": ["gap", "atoms_C"]})
    gap = PropertyStatistics(mean=6000, mad=1000, smallest=4000, largest=8000, labels=9)
    carbons = PropertyStatistics(mean=2, mad=1, smallest=1, largest=3, labels=9)
    statistics = Statistics((1, 6, 8), {4: 5, 6: 4}, 9, "tiny", "0", {"gap": gap, "atoms_C": carbons})
    values = np.array([[4000 + 500 * row, 1 + row // 3] for row in range(9)], dtype=np.float32)
    prior = JointPrior(("gap", "atoms_C"), np.repeat([4, 6], [5, 4]).astype(np.int32), values)
    torch.manual_seed(0)
    save_recipe(directory, config, statistics, prior)
    save_weights(directory, new_denoiser(config, statistics).state_dict())
    return directory


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The file of an MLflow store without runs, whose tables take two seconds to make."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def settings(empty_store, tmp_path):
    """Of a command that tracks in a store of its own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Settings(f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "mlruns").as_uri(), None, False)


@pytest.fixture(scope="session")
def cluster():
    """The address of a two-CPU Ray cluster on this machine; this process itself stays unconnected.

    It has a dashboard as real clusters have: without one, Ray Train does not notice that a driver was killed.
    """
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 2, "include_dashboard": True, "dashboard_port": None, "object_store_memory": 200_000_000}
    started = Cluster(initialize_head=True, head_node_args=options)
    yield started.address
    started.shutdown()


@pytest.fixture
def sweep_command(cluster, tiny_checkpoint, tmp_path):
    """Builds the command line and environment of a sweep on the test cluster."""

    def command(*options):
        script = [
            sys.executable,
            str(ROOT / "tune" / "sweep_async_ratio.py"),
            "--checkpoint",
            str(tiny_checkpoint),
        ]
        environment = {
            **os.environ,
            "RAY_ADDRESS": cluster,
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        }
        return {"args": [*script, *options], "env": environment, "cwd": tmp_path}

    return command


@pytest.fixture
def run_sweep(sweep_command):
    def run(*options):
        return subprocess.run(**sweep_command(*options), capture_output=True, text=True, timeout=180, check=False)

    return run
