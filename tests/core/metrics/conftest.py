"""Small molecules built by hand, the same shaken, and QM9 where it is at hand."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet, load_npz

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
    beside = Path(__file__).parents[3].parent / "shared" / "data"
    path = Path(os.environ.get("EAD_DATA", beside)) / "qm9.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not at hand")
    data = load_npz(path)
    return MoleculeSet(data.num_atoms, data.charges, data.positions)
