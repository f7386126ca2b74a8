"""One Ray cluster for all platform tests of a process, a tiny checkpoint, and a tracking store of its own per test."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ead_platform.cluster.settings import Settings
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file

from ead_core.checkpoints.checkpoint import new_denoiser, save_recipe, save_weights
from ead_core.config import Config, load_config
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import PropertyStatistics
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.training.fit import fit
from ead_core.training.progress import PROGRESS
from ead_core.training.session import prepare

from ..conftest import PLATFORM_COMMANDS
from ..in_this_process import in_this_process

ROOT = Path(__file__).parents[2]
TINY = {
    "data": {"path": "none.npz"},
    "network": {"hidden_features": 8, "layers": 1, "edge_features": 8, "vectors": 2},
    "diffusion": {"steps": 40, "interval": 8},
}

TRAINING = {
    "data": {"path": "chains.npz"},
    "network": {"hidden_features": 16, "layers": 1, "edge_features": 8, "vectors": 2},
    "diffusion": {"steps": 20, "interval": 5},
    "training": {
        "precision": "fp64",
        "steps": 30,
        "batch_size": 5,
        "warmup_steps": 2,
        "optimizer": "muon",
        "evaluate_molecules": 3,
    },
    "platform": {"num_workers": 2, "card_molecules": 0},
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
def store(empty_store, tmp_path):
    """The address of a store of a test's own."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture
def settings(store, tmp_path):
    """Of a command that tracks in a store of its own."""
    return Settings(store, (tmp_path / "mlruns").as_uri(), None, False)


@pytest.fixture(scope="session")
def machines():
    """A Ray cluster with one node of two CPUs on this machine; this process itself stays unconnected.

    It has a dashboard as real clusters have: without one, Ray Train does not notice that a driver was killed. A lost
    node is noticed after two checks instead of half a minute.
    """
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 2, "include_dashboard": True, "dashboard_port": None, "object_store_memory": 200_000_000}
    checks = {"health_check_period_ms": 1000, "health_check_failure_threshold": 2}
    started = Cluster(initialize_head=True, head_node_args={**options, "_system_config": checks})
    yield started
    started.shutdown()


@pytest.fixture
def extra(machines):
    """A second node, with one CPU."""
    node = machines.add_node(num_cpus=1, object_store_memory=100_000_000)
    yield node
    if node in machines.worker_nodes:
        machines.remove_node(node, allow_graceful=False)


@pytest.fixture
def judged_here():
    """For tests that need not start the processes that judge."""
    with in_this_process():
        yield


@pytest.fixture(scope="session")
def cluster(machines):
    """The address of the cluster."""
    return machines.address


@pytest.fixture(scope="session")
def python(preloaded):
    """The program that runs the commands of the platform."""
    return str(preloaded(PLATFORM_COMMANDS) / "python")


@pytest.fixture
def sweep_command(python, cluster, tiny_checkpoint, tmp_path, store):
    """Builds the command line and environment of a sweep on the test cluster."""

    def command(*options):
        script = [
            python,
            str(ROOT / "tune" / "sweep_async_ratio.py"),
            "--checkpoint",
            str(tiny_checkpoint),
        ]
        environment = {
            **os.environ,
            "RAY_ADDRESS": cluster,
            "MLFLOW_TRACKING_URI": store,
        }
        return {"args": [*script, *options], "env": environment, "cwd": tmp_path}

    return command


@pytest.fixture
def run_sweep(sweep_command):
    def run(*options):
        return subprocess.run(**sweep_command(*options), capture_output=True, text=True, timeout=600, check=False)

    return run


@pytest.fixture
def chains(tmp_path):
    """A file of 40 molecules of carbon and oxygen."""
    generator = np.random.default_rng(0)
    sizes = [4, 5, 6, 7] * 10
    charges = [np.array([6, 8, *generator.choice([6, 8], size=n - 2)]) for n in sizes]
    save_npz(MoleculeSet.from_lists(charges, [generator.normal(size=(n, 3)) for n in sizes]), tmp_path / "chains.npz")
    return tmp_path / "chains.npz"


@pytest.fixture
def folder(chains, tmp_path):
    """A folder with a recipe and 40 chain molecules."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TRAINING))
    return tmp_path


@pytest.fixture
def command(python, cluster, folder, store):
    """Builds the command line and environment of a training on the test cluster."""

    def command(*overrides, recipe="tiny.yaml"):
        script = [python, str(ROOT / "platform" / "jobs" / "train.py"), *([recipe] if recipe else [])]
        environment = {
            **os.environ,
            "RAY_ADDRESS": cluster,
            "EAD_DATA": str(folder),
            "MLFLOW_TRACKING_URI": store,
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        }
        return {"args": [*script, "platform.storage_path=runs", *overrides], "env": environment, "cwd": folder}

    return command


@pytest.fixture
def train(command):
    def train(*overrides, **arguments):
        return subprocess.run(
            **command(*overrides, **arguments), capture_output=True, text=True, timeout=600, check=False
        )

    return train


@pytest.fixture
def alone(folder, monkeypatch):
    """The same training by the core itself, in this process; gives its stored tensors."""

    def alone(*overrides):
        monkeypatch.setenv("EAD_DATA", str(folder))
        config = load_config(folder / "tiny.yaml", overrides)
        session = prepare(config)
        return load_file(fit(config, session.train, session.statistics, folder / "alone") / PROGRESS)

    return alone


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here, for which one must be root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
