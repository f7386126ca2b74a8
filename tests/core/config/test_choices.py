"""The choices that a key offers are those that there are."""

from typing import get_args

import pytest
import torch

from ead_core.config import Config, NetworkConfig, TrainingConfig
from ead_core.config.reference import entries
from ead_core.diffusion.convergence import CONVERGENCE
from ead_core.diffusion.corrector import CHANNELS, CORRECTIONS
from ead_core.diffusion.corruption import DUMMY_RULES
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.grid import POWERS
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.velocity import VELOCITIES
from ead_core.networks.denoiser import build_denoiser
from ead_core.networks.inputs import DenoiserInput
from ead_core.training.objectives import OBJECTIVES
from ead_core.training.optimizer import Optimizer
from ead_core.training.parallel import Workers

TABLES = {
    "diffusion.dummy_rule": DUMMY_RULES,
    "diffusion.gauge": GAUGES,
    "sampler.convergence": CONVERGENCE,
    "sampler.corrector_channels": CHANNELS,
    "sampler.corrector_mode": CORRECTIONS,
    "sampler.grid": POWERS,
    "sampler.pause_mode": PAUSES,
    "sampler.solver": SOLVERS,
    "sampler.velocity": VELOCITIES,
    "training.objective": OBJECTIVES,
}


def choices(key):
    section, name = key.split(".")
    return get_args(Config.model_fields[section].annotation.model_fields[name].annotation)


@pytest.mark.parametrize("key", TABLES)
def test_a_key_offers_what_its_table_holds(key):
    assert choices(key) == tuple(TABLES[key])


def test_every_optimiser_is_another():
    network = build_denoiser(NetworkConfig(hidden_features=32, layers=1), 5, 100)
    levels, mask = torch.ones(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)
    network(DenoiserInput(torch.zeros(1, 2, 8), levels, mask)).sum().backward()
    quantities = []
    for name in choices("training.optimizer"):
        optimizer = Optimizer(network, TrainingConfig(optimizer=name), Workers.joined())
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(1.0)
        quantities.append({key.split(":")[0] for key, _ in optimizer.tensors()})
    assert len(quantities) == len(set(map(frozenset, quantities)))


@pytest.mark.parametrize("entry", entries(Config).values(), ids=lambda entry: entry.key)
def test_every_choice_is_explained_where_it_is_offered(entry):
    self_explanatory = {"training.precision", "sampler.precision"}  # number formats
    if entry.key not in self_explanatory:
        assert all(f"`{value}`" in entry.meaning for value in choices(entry.key) if isinstance(value, str))
