"""Element vocabularies, padded batches and centring."""

import numpy as np
import pytest
import torch

from ead_core.data.tensors import DUMMY, AtomTypes, MoleculeBatch, centre, size_mask, without_dummies
from ead_core.errors import DataError

QM9 = AtomTypes((1, 6, 7, 8, 9))


def test_features_are_edm_normalised_and_decode_to_the_same_elements():
    charges = torch.tensor([[1, 6, 9, 8]])
    features = QM9.features(QM9.types(charges))
    assert torch.allclose(features[0, 1], torch.tensor([0, 0.25, 0, 0, 0, 0.6]))
    assert torch.equal(QM9.charges(features), charges)


def test_an_element_outside_the_vocabulary_is_named():
    with pytest.raises(DataError, match="Br is not in the model's set"):
        QM9.types(torch.tensor([6, 35]))


def test_state_is_centred_over_real_atoms_and_zero_elsewhere():
    mask = size_mask([2, 3])
    batch = MoleculeBatch(torch.randn(2, 3, 3) + 5, torch.zeros(2, 3, dtype=torch.long), mask)
    state = batch.state(QM9)
    assert torch.allclose((state[..., :3] * mask[..., None]).sum(1), torch.zeros(2, 3), atol=1e-5)
    assert (state[0, 2] == 0).all()


def test_centring_commutes_with_rotation_and_ignores_translation():
    mask = size_mask([4, 2])
    x = torch.randn(2, 4, 3, dtype=torch.float64) * mask[..., None]
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    assert torch.allclose(centre(x @ rotation.T, mask), centre(x, mask) @ rotation.T)
    assert torch.allclose(centre(x + 3, mask), centre(x, mask))


def test_dummies_are_a_type_without_charge_that_decodes():
    types = AtomTypes((DUMMY, 1, 6))
    charges = torch.tensor([6, DUMMY, 1])
    features = types.features(types.types(charges))
    assert torch.equal(features[1], torch.tensor([0.25, 0, 0, 0]))
    assert torch.equal(types.charges(features), charges)
    assert types.has_dummies
    assert not QM9.has_dummies


def test_empty_slots_are_dropped_and_the_rest_is_centred():
    positions = np.array([[1.0, 0, 0], [9, 9, 9], [3, 0, 0]])
    charges, kept = without_dummies(np.array([6, DUMMY, 8]), positions)
    assert charges.tolist() == [6, 8]
    assert kept.tolist() == [[-1, 0, 0], [1, 0, 0]]
    full = without_dummies(np.array([6, 8, 1]), positions)
    assert np.array_equal(full[1], positions)
    assert [part.tolist() for part in without_dummies(np.zeros(2, dtype=int), positions[:2])] == [[1], [[0, 0, 0]]]
