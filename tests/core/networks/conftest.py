"""Both ways to compute the edges (PyTorch; compiled where there is a compiler), and inputs for them."""

import pytest
import torch

from ead_core.networks.native.build import BuildError, shared_library
from ead_core.networks.native.library import FOLDER, VARIABLE


@pytest.fixture(scope="session")
def compiled():
    """The compiled operations' file; skips where it cannot be built."""
    try:
        return shared_library(FOLDER)
    except BuildError as error:
        pytest.skip(f"no compiled edge operation: {error}")


@pytest.fixture(params=["torch", "native"])
def kernel(request, monkeypatch):
    """The name of the way that this test is run with."""
    if request.param == "native":
        request.getfixturevalue("compiled")
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


@pytest.fixture(scope="session")
def make_inputs():
    """Makes receiver, sender, distances and the five weights, with gradients; R basis functions per distance."""

    def make(sizes, dtype=torch.float32):
        molecules, atoms, hidden, distances, basis, projections = sizes
        shapes = [(molecules, atoms, hidden)] * 2 + [(molecules, atoms, atoms, distances)]
        shapes += [(hidden, distances * basis), (hidden, hidden), (hidden,), (projections, hidden), (projections,)]
        tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
        tensors[2].abs_()
        tensors[4] /= hidden**0.5
        tensors[6] /= hidden**0.5
        return [tensor.requires_grad_() for tensor in tensors]

    return make


@pytest.fixture(scope="session")
def make_edges():
    """Makes the pairs of different atoms; the last molecule has one atom less."""

    def make(molecules, atoms, dtype=torch.float32):
        mask = torch.ones(molecules, atoms, dtype=dtype)
        mask[-1, -1] = 0
        return mask[:, :, None] * mask[:, None, :] * (1 - torch.eye(atoms, dtype=dtype))

    return make
