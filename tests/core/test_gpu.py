"""What a GPU makes is what the CPU makes; these tests need one (benchmarks/gpu_check.py runs them)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import TrainingBatches
from ead_core.networks.backbones import BACKBONES
from ead_core.sampling.generation import sample
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
PLACES = (torch.device("cpu"), torch.device("cuda", 0))


@pytest.mark.parametrize("kind", BACKBONES)
def test_networks_agree(make_checkpoint, kind):
    made = []
    for place in PLACES:
        checkpoint = load_checkpoint(make_checkpoint({"network.kind": kind}, name=place.type))
        checkpoint = replace(checkpoint, denoiser=checkpoint.denoiser.double().to(place))
        made.append(sample(checkpoint, 4, seed=1, sizes=6, policy="adaptive"))
    assert np.array_equal(made[0].charges, made[1].charges)
    np.testing.assert_allclose(made[0].positions, made[1].positions, atol=1e-6)


def test_training_steps_end_with_finite_weights_on_the_gpu(make_config, molecules, statistics):
    """The generators of the two devices differ, and so do the steps."""
    trainer = Trainer.create(make_config({"training.optimizer": "muon"}), statistics, Workers(0, 1, PLACES[1]))
    batches = TrainingBatches(molecules, trainer.atom_types, 4, 0)
    for step in range(3):
        trainer.advance(batches.batch(step).to(PLACES[1]))
    assert trainer.window.first_broken() is None
    assert {parameter.device for parameter in trainer.network.parameters()} == {PLACES[1]}
