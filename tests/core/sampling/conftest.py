"""What several tests of the sampler look at."""

import functools

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint, new_predictor
from ead_core.data.dataset import compute_statistics
from ead_core.data.labels import labels_of
from ead_core.prediction.judge import Judge

from ..conftest import write_conditional


@pytest.fixture(scope="session")
def same():
    """Whether two sets hold the same molecules, made with the same network calls."""

    def same(a, b):
        return (
            a.properties["id"].tolist() == b.properties["id"].tolist()
            and a.properties["nfe"].tolist() == b.properties["nfe"].tolist()
            and a.charges.tolist() == b.charges.tolist()
            and np.allclose(a.positions, b.positions, atol=1e-5)
        )

    return same


@pytest.fixture
def calls_of():
    """For a test, a list that grows by the number of molecules with every network call of a model."""
    hooks = []

    def calls_of(model):
        seen = []
        hooks.append(model.denoiser.register_forward_hook(lambda _, inputs, output: seen.append(len(inputs[0].z))))
        return seen

    yield calls_of
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="session")
def generator(tmp_path_factory, make_config, labelled):
    """Untrained, 20 levels, in float64 so that no decision depends on the batch."""
    folder = tmp_path_factory.mktemp("sampling") / "generator"
    loaded = load_checkpoint(write_conditional(folder, make_config, labelled, {"conditioning.half": "second"}))
    loaded.denoiser.double()
    return loaded


@pytest.fixture(scope="session")
def make_selector(make_config, labelled):
    """Untrained predictors of `alpha` and `gap`, in float64."""

    @functools.cache
    def make(half="second"):
        changes = {"conditioning.properties": ["alpha", "gap"], "conditioning.half": half}
        config = make_config({"training.objective": "predict", **changes})
        labels = labels_of(labelled, config.conditioning, 0)
        statistics = compute_statistics(labelled, name="chains", sha256="0" * 64, labels=labels)
        torch.manual_seed(1)
        predictor = new_predictor(config, statistics).double().eval().requires_grad_(False)
        for weights in predictor.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
        return Judge("selector", config, statistics, predictor, {})

    return make
