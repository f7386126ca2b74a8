"""A backbone and a policy from outside, registered here, trained and sampled through the public API (CONTRIBUTING)."""

from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from ead_core import Config, fit, load_checkpoint, sample
from ead_core.config import NetworkConfig
from ead_core.diffusion.policy import Policy
from ead_core.networks.backbones import BACKBONES


class Toy(nn.Module):
    """Atoms are drawn towards or away from the centre by an amount that their features say; it also asks for draws."""

    num_draws = 3
    floats_per_pair, floats_per_atom = 1, 64

    def __init__(self, config, features, context=0):
        super().__init__()
        self.input_layer = nn.Linear(features + 1 + 3 + context, config.hidden_features)
        self.inner = nn.Linear(config.hidden_features, config.hidden_features)
        self.output_layer = nn.Linear(config.hidden_features, features + 1)

    def hidden_matrices(self):
        return [self.inner.weight]

    def zero_at_start(self):
        return []

    def forward(self, x, h, time, mask, context, draws):
        each = [part[:, None].expand(-1, x.shape[1], -1) for part in (draws.to(h.dtype), context) if part is not None]
        known = torch.cat([h, time[..., None], *each], dim=-1)
        out = self.output_layer(torch.tanh(self.inner(torch.tanh(self.input_layer(known)))))
        return x / (1 + x.norm(dim=-1, keepdim=True)) * out[..., -1:], out[..., :-1]


class EveryOther(Policy):
    """Atoms advance in every second iteration."""

    def advance(self, now):
        return now.mask & (now.grid_index > 0) & (now.iterations % 2 == 1)[:, None]

    def most_pauses(self, atoms):
        return 1000


@pytest.fixture
def toy(monkeypatch):
    """The line in the table, and the word in the recipe's section."""
    field, before = NetworkConfig.model_fields["kind"], NetworkConfig.model_fields["kind"].annotation
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    field.annotation = Literal["toy"] | before
    NetworkConfig.model_rebuild(force=True)
    Config.model_rebuild(force=True)
    yield
    field.annotation = before
    NetworkConfig.model_rebuild(force=True)
    Config.model_rebuild(force=True)


@pytest.mark.parametrize("form", ["epsilon", "x0", "v"])
def test_a_toy_backbone_is_trained_and_sampled_with_a_toy_policy(
    toy, tmp_path, make_config, molecules, statistics, form
):
    changes = {
        "network.kind": "toy",
        "diffusion.parametrisation": form,
        "diffusion.steps": 20,
        "diffusion.precision": 0.01,
        "training.steps": 6,
        "training.optimizer": "muon",
    }
    folder = fit(make_config(changes), molecules, statistics, tmp_path / "toy")
    checkpoint = load_checkpoint(folder)
    assert isinstance(checkpoint.denoiser.network, Toy)
    made = sample(checkpoint, 3, seed=1, sizes=[4, 5], policy=EveryOther())
    assert made.properties["nfe"].tolist() == [41] * 3
    assert np.isfinite(made.positions).all()
    alone = sample(checkpoint, 1, seed=1, sizes=[5], first=1, policy=EveryOther())
    assert np.allclose(made.molecule(1)[1], alone.molecule(0)[1], atol=1e-4)  # its draws are its own in any batch
