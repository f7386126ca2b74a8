"""Synthetic molecules and the smallest useful recipe, for all tests that train, store or sample."""

import functools
import itertools
import os
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from ead_core.checkpoints.checkpoint import new_denoiser, save_recipe, save_weights
from ead_core.config import Config
from ead_core.data.dataset import compute_statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.labels import labels_of
from ead_core.data.properties import count_atoms
from ead_core.data.store import MoleculeSet, load_npz
from ead_core.data.tensors import centre_state
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.policy import Synchronous
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.diffusion.velocity import VELOCITIES

from ..in_this_process import in_this_process

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


UNTRAINED = {"diffusion.steps": 20, "diffusion.precision": 0.01}


def write_untrained(folder, config, statistics, prior=None):
    """A checkpoint no layer of which is zero; the high `precision` of UNTRAINED keeps its samples small."""
    torch.manual_seed(0)
    weights = {k: w + 0.05 * torch.randn_like(w) for k, w in new_denoiser(config, statistics).state_dict().items()}
    save_recipe(folder, config, statistics, prior)
    save_weights(folder, weights)
    return folder


@pytest.fixture
def make_checkpoint(tmp_path, make_config, statistics):
    """Folders with untrained weights."""

    def make(changes=(), name="checkpoint"):
        return write_untrained(tmp_path / name, make_config({**UNTRAINED, **dict(changes)}), statistics)

    return make


@pytest.fixture(scope="session")
def untrained(tmp_path_factory, make_config, statistics):
    """The folder that `make_checkpoint` makes without changes; not to be changed."""
    return write_untrained(tmp_path_factory.mktemp("shared") / "checkpoint", make_config(UNTRAINED), statistics)


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
    config = make_config({**UNTRAINED, "conditioning.properties": PROPERTIES, **changes})
    labels = labels_of(labelled, config.conditioning, 0)
    statistics = compute_statistics(labelled, name="chains", sha256="0" * 64, labels=labels)
    return write_untrained(folder, config, statistics, JointPrior.of_training(labelled, labels, 0) if labels else None)


@pytest.fixture(scope="session")
def copies():
    """How to start processes that need not begin from nothing: on Linux as copies of this one, without the seconds that
    imports take.
    """
    return get_context("fork" if sys.platform == "linux" else "spawn")


@pytest.fixture
def measured_here():
    """For a test, as `in_this_process`."""
    with in_this_process():
        yield


@pytest.fixture(scope="session")
def denoiser():
    """Exact for Gaussian data of width 0.5, disturbed by what a network may do: equivariant, not linear, and each atom
    depends on all others.
    """
    schedule = NoiseSchedule(1000)

    def predict(inputs):
        z, levels, real = inputs.z, inputs.levels, inputs.mask[..., None]
        alpha, sigma = (c(levels)[..., None].to(z.dtype) for c in (schedule.alpha, schedule.sigma))
        centred = (z - (z * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)) * real
        disturbance = torch.tanh(centred.norm(dim=-1, keepdim=True)) * centred
        return sigma * z / (0.25 * alpha**2 + sigma**2) + 0.1 * centre_state(disturbance, inputs.mask)

    return predict


@pytest.fixture
def make_process(denoiser):
    def make(
        policy=None,
        steps=30,
        *,
        levels=1000,
        pause_mode="repeat",
        decision="own_noise",
        function=None,
        kind="even",
        solver="ancestral",
        velocity="z",
        frame="z",
        **more,
    ):
        return Process(
            denoiser=function or denoiser,
            schedule=NoiseSchedule(levels),
            grid=sampling_grid(levels, steps, kind),
            policy=policy or Synchronous(),
            pause=PAUSES[pause_mode],
            own_noise=decision == "own_noise",
            solver=SOLVERS[solver],
            velocity=VELOCITIES[velocity],
            frame=GAUGES[frame],
            **more,
        )

    return make


NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


def line(*distances):
    """Points on a line with the given gaps."""
    return [[x, 0, 0] for x in np.cumsum([0, *distances])]


BY_HAND = {
    "methane": ("CHHHH", [[0, 0, 0], *(1.09 * TETRAHEDRON)]),
    "carbon dioxide": ("OCO", line(1.1617, 1.1617)),  # C≡O ends at 1.16
    "hydrogen cyanide": ("HCN", line(1.07, 1.15)),
    "acetylene": ("HCCH", line(1.06, 1.20, 1.06)),
    "carbonyl fluoride": ("COFF", [[0, 0, 0], [0, 1.18, 0], [1.08, -0.75, 0], [-1.08, -0.75, 0]]),
    "water": ("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    "ammonia": ("NHHH", [[0, 0, 0], [0.94, 0, -0.38], [-0.47, 0.81, -0.38], [-0.47, -0.81, -0.38]]),
    "hydrogen": ("HH", line(0.74)),
    "formaldehyde": ("COHH", [[0, 0, 0], [0, 1.2, 0], [0.94, -0.59, 0], [-0.94, -0.59, 0]]),
    "diazene": ("NNHH", [[0, 0, 0], [1.25, 0, 0], [-0.35, 0.97, 0], [1.6, -0.97, 0]]),
    "hydrogen peroxide": ("OOHH", [[0, 0, 0], [1.45, 0, 0], [-0.17, 0.95, 0], [1.62, -0.95, 0]]),
    "nitrogen": ("NN", line(1.10)),
    "fluorine": ("FF", line(1.42)),
    "hypofluorous acid": ("HOF", [[-0.2, 0.95, 0], [0, 0, 0], [1.44, 0, 0]]),
}


def build(formula, positions):
    return np.array([NUMBERS[symbol] for symbol in formula]), np.array(positions, dtype=np.float32)


def join(*molecules, properties=None):
    charges, positions = zip(*molecules, strict=True)
    return MoleculeSet.from_lists(charges, positions, properties)


@pytest.fixture
def by_hand():
    return {name: build(*molecule) for name, molecule in BY_HAND.items()}


@pytest.fixture
def shaken():
    """Each molecule 30 times with growing noise, so that every rule decides both ways."""
    rng = np.random.default_rng(3)
    molecules = []
    for amplitude in np.linspace(0, 0.3, 30):
        for charges, positions in itertools.starmap(build, BY_HAND.values()):
            molecules.append((charges, positions + amplitude * rng.normal(size=positions.shape)))
    return join(*molecules)


@pytest.fixture(scope="session")
def qm9():
    """QM9 in the canonical store, from the folder EAD_DATA or from beside the project."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("EAD_DATA", beside)) / "qm9.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not at hand")
    data = load_npz(path)
    return MoleculeSet(data.num_atoms, data.charges, data.positions)


@functools.cache
def embed(smiles):
    """Atomic numbers and positions."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, mol.GetConformer().GetPositions().astype(np.float32)


@pytest.fixture(scope="session")
def embedded():
    return embed


@pytest.fixture(scope="session")
def make_set():
    def make(*smiles, **properties):
        pairs = [embed(one) for one in smiles]
        values = {name: np.array(column) for name, column in properties.items()}
        return MoleculeSet.from_lists([z for z, _ in pairs], [x for _, x in pairs], values)

    return make
