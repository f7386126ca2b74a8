"""A small equivariant denoiser in float64 and processes built from it."""

import pytest
import torch

from ead_core.config import NetworkConfig
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.policy import Synchronous
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.networks.denoiser import build_denoiser

FEATURES = 5


@pytest.fixture(scope="session")
def denoiser():
    """Exact for Gaussian data of width 0.5, disturbed by an untrained equivariant network: tame, yet every atom
    depends on every other.
    """
    torch.manual_seed(0)
    config = NetworkConfig(kind="egnn_rbf", hidden_features=16, layers=2, edge_features=8, vectors=2)
    network = build_denoiser(config, FEATURES, 1000).double()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    network.requires_grad_(False)
    schedule = NoiseSchedule(1000)

    def predict(z, levels, mask):
        alpha, sigma = (c(levels)[..., None].to(z.dtype) for c in (schedule.alpha, schedule.sigma))
        disturbance = network.to(z.dtype)(z, levels, mask)
        return sigma * z / (0.25 * alpha**2 + sigma**2) + 0.1 * disturbance

    return predict


@pytest.fixture
def make_process(denoiser):
    def make(policy=None, steps=60, pause_mode="repeat", decision="own_noise", function=None, kind="even", **more):
        return Process(
            denoiser=function or denoiser,
            schedule=NoiseSchedule(1000),
            grid=sampling_grid(1000, steps, kind),
            policy=policy or Synchronous(),
            pause_mode=pause_mode,
            decision=decision,
            **more,
        )

    return make
