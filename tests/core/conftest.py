"""Synthetic molecules and the smallest useful recipe, for all tests that train, store or sample."""

import sys

import numpy as np
import pytest
import torch

from ead_core.cli import main
from ead_core.config import Config
from ead_core.data.dataset import compute_statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import labels_of
from ead_core.data.properties import count_atoms
from ead_core.data.store import MoleculeSet
from ead_core.training.checkpoint import new_denoiser, save_recipe, save_weights

TINY = {
    "network.hidden_features": 8,
    "network.layers": 1,
    "network.edge_features": 8,
    "network.vectors": 2,
    "diffusion.steps": 50,
    "diffusion.interval": 5,
    "training.batch_size": 4,
    "training.warmup_steps": 2,
}


@pytest.fixture(scope="session")
def make_molecules():
    """Zigzag chains of carbon and oxygen; the first coordinate of molecule i is exactly i."""

    def make(sizes=(4, 5, 6) * 8):
        generator = np.random.default_rng(0)
        charges = [generator.choice([6, 8], size=n) for n in sizes]
        charges[0][:2] = 6, 8
        positions = [
            np.stack([i + 1.2 * np.arange(n), 0.7 * (np.arange(n) % 2), 0.1 * generator.normal(size=n)], axis=1)
            for i, n in enumerate(sizes)
        ]
        return MoleculeSet.from_lists(charges, positions)

    return make


@pytest.fixture(scope="session")
def molecules(make_molecules):
    """24 molecules of 4 to 6 atoms: six batches of four per epoch."""
    return make_molecules()


@pytest.fixture(scope="session")
def statistics(molecules):
    return compute_statistics(molecules, name="chains", sha256="0" * 64)


@pytest.fixture(scope="session")
def make_config():
    def make(changes=()):
        return Config(data={"path": "chains.npz"}).override({**TINY, **dict(changes)})

    return make


@pytest.fixture
def make_checkpoint(tmp_path, make_config, statistics):
    """Folders with untrained weights, no layer of them zero; a high `precision` keeps samples small."""

    def make(changes=(), name="checkpoint"):
        config = make_config({"diffusion.steps": 20, "diffusion.precision": 0.01, **dict(changes)})
        torch.manual_seed(0)
        denoiser = new_denoiser(config, statistics)
        weights = {k: w + 0.05 * torch.randn_like(w) for k, w in denoiser.state_dict().items()}
        save_recipe(tmp_path / name, config, statistics)
        save_weights(tmp_path / name, weights)
        return tmp_path / name

    return make


PROPERTIES = ["alpha", "gap", "mu", "atoms_C", "atoms_O"]


@pytest.fixture(scope="session")
def labelled(make_molecules):
    """240 molecules of 4 to 9 atoms: `alpha` goes with the size, `gap` (Hartree) with the oxygens, and `mu`, from 0 to
    5, is known of every other one.
    """
    molecules, generator = make_molecules((4, 5, 6, 7, 8, 9) * 40), np.random.default_rng(1)
    properties = {
        "alpha": 5.0 * molecules.num_atoms + generator.uniform(-1, 1, 240),
        "gap": 0.3 - 0.02 * count_atoms(molecules, 8),
        "mu": np.where(np.arange(240) % 2, np.nan, generator.uniform(0, 5, 240)),
        "index": np.arange(240),
    }
    return MoleculeSet(molecules.num_atoms, molecules.charges, molecules.positions, properties)


@pytest.fixture(scope="session")
def conditional(tmp_path_factory, make_config, labelled):
    """The folder of an untrained checkpoint conditioned on PROPERTIES, called `conditional`; not to be changed."""
    return write_conditional(tmp_path_factory.mktemp("shared") / "conditional", make_config, labelled, {})


@pytest.fixture
def make_conditional(tmp_path, make_config, labelled):
    """Like `make_checkpoint`, conditioned on PROPERTIES unless it is told others."""
    return lambda changes, name="conditional": write_conditional(tmp_path / name, make_config, labelled, changes)


def write_conditional(folder, make_config, labelled, changes):
    own = {"diffusion.steps": 20, "diffusion.precision": 0.01, "conditioning.properties": PROPERTIES}
    config = make_config({**own, **changes})
    labels = labels_of(labelled, config.conditioning, 0)
    statistics = compute_statistics(labelled, name="chains", sha256="0" * 64, labels=labels)
    torch.manual_seed(0)
    weights = {k: w + 0.05 * torch.randn_like(w) for k, w in new_denoiser(config, statistics).state_dict().items()}
    save_recipe(folder, config, statistics, JointPrior.of_training(labelled, labels, 0) if labels else None)
    save_weights(folder, weights)
    return folder


@pytest.fixture
def ead(monkeypatch, capsys, tmp_path):
    """Run `ead` in this process and in an empty folder; returns exit code, standard output and error."""
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EAD_DATA", raising=False)

    def ead(*arguments):
        monkeypatch.setattr(sys, "argv", ["ead", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    yield ead
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)
