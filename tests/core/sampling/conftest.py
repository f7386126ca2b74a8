"""What several tests of the sampler look at."""

import numpy as np
import pytest


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
