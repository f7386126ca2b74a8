"""A model for the tests of programs in benchmarks/: every mechanism runs, nothing takes time."""

import torch

from ead_core.checkpoints.checkpoint import new_denoiser, save_recipe, save_weights
from ead_core.config import Config
from ead_core.data.dataset import Statistics

RECIPE = {
    "data": {"path": "none.npz"},
    "network": {"hidden_features": 8, "layers": 1, "edge_features": 8, "vectors": 2},
    "diffusion": {"steps": 20, "interval": 5},
}


def untrained(folder, atom_numbers, size):
    """The folder of an untrained model with 20 levels, of molecules of one size."""
    config = Config(**RECIPE)
    statistics = Statistics(atom_numbers=atom_numbers, sizes={size: 3}, num_molecules=3, name="tiny", sha256="0")
    torch.manual_seed(0)
    save_recipe(folder, config, statistics)
    save_weights(folder, new_denoiser(config, statistics).state_dict())
    return folder
