"""Training batches visit everything once, resume anywhere and hardly pad; buckets bound their waste."""

import numpy as np
import pytest

from ead_core.data.batching import TrainingBatches, size_buckets
from ead_core.data.tensors import DUMMY, AtomTypes
from ead_core.errors import DataError

TYPES = AtomTypes((6, 8))
QM9_SIZES = np.random.default_rng(1).normal(18, 3, 2000).round().astype(int).clip(4, 29)


@pytest.fixture(scope="module")
def realistic(make_molecules):
    return make_molecules(QM9_SIZES)


def members(batch):
    """Which molecules these are: their first coordinate says it."""
    return batch.positions[:, 0, 0].round().int().tolist()


def epoch(batches, number):
    return [batches.batch(number * batches.per_epoch + i) for i in range(batches.per_epoch)]


@pytest.mark.parametrize("number", [0, 1])
def test_an_epoch_visits_every_molecule_once(realistic, number):
    visited = [i for batch in epoch(TrainingBatches(realistic, TYPES, 64, 0), number) for i in members(batch)]
    assert sorted(visited) == list(range(len(realistic)))


def test_all_batches_but_one_are_full(realistic):
    lengths = sorted(len(batch.mask) for batch in epoch(TrainingBatches(realistic, TYPES, 64, 0), 0))
    assert lengths == [2000 % 64] + [64] * (2000 // 64)


def test_the_order_depends_on_seed_and_epoch_alone(molecules):
    def order(batches, steps):
        return {step: members(batches.batch(step)) for step in steps}

    forward = order(TrainingBatches(molecules, TYPES, 4, 0), range(18))
    assert order(TrainingBatches(molecules, TYPES, 4, 0), reversed(range(18))) == forward
    assert order(TrainingBatches(molecules, TYPES, 4, 1), range(18)) != forward
    assert [forward[i] for i in range(6)] != [forward[i + 6] for i in range(6)]


def test_batches_mix_and_do_not_come_by_size(realistic):
    widths = [batch.mask.shape[1] for batch in epoch(TrainingBatches(realistic, TYPES, 64, 0), 0)]
    assert widths != sorted(widths)


def test_with_dummies_all_molecules_have_the_slots_of_the_largest(realistic):
    types = AtomTypes((DUMMY, 6, 8))
    batches = TrainingBatches(realistic, types, 64, 0)
    batch = batches.gather([5, 17])
    sizes, slots = QM9_SIZES[[5, 17]], QM9_SIZES.max()
    assert batch.mask.shape == (2, slots)
    assert batch.mask.all()
    assert (batch.types == 0).sum(1).tolist() == (slots - sizes).tolist()
    assert not batch.positions[0, sizes[0] :].any()
    charges, positions = realistic.molecule(5)
    assert np.allclose(batch.positions[0, : sizes[0]], positions - positions.mean(0), atol=1e-5)
    assert types.charges(types.features(batch.types))[0, : sizes[0]].tolist() == charges.tolist()
    assert np.ptp((batches.batch(0).types > 0).sum(1).numpy()) > 5  # no need to keep sizes apart


def test_only_batches_across_a_size_border_are_padded(realistic):
    batches = epoch(TrainingBatches(realistic, TYPES, 64, 0), 0)
    padded = [batch for batch in batches if not batch.mask.all()]
    assert 0 < len(padded) < len(np.unique(QM9_SIZES))
    assert 1 - QM9_SIZES.sum() / sum(batch.mask.numel() for batch in batches) < 0.03
    at_random = QM9_SIZES[:1984].reshape(31, 64).max(axis=1).sum() * 64
    assert 1 - QM9_SIZES[:1984].sum() / at_random > 0.2


def test_gather_is_the_molecules_themselves(molecules):
    chosen = [7, 0, 5]
    batch = TrainingBatches(molecules, TYPES, 4, 0).gather(chosen)
    for row, index in enumerate(chosen):
        charges, positions = molecules.molecule(index)
        real = batch.mask[row]
        assert real.tolist() == [i < len(charges) for i in range(6)]
        assert np.array_equal(batch.positions[row, real], positions)
        assert np.array_equal(np.array(TYPES.numbers)[batch.types[row, real]], charges)
        assert not batch.positions[row, ~real].any()
        assert not batch.types[row, ~real].any()


def test_a_foreign_element_is_refused_before_training(molecules):
    with pytest.raises(DataError, match=r"element O is not in the model's set \(C\)\."):
        TrainingBatches(molecules, AtomTypes((6,)), 4, 0)


@pytest.mark.parametrize("waste", [0.0, 0.2])
def test_buckets_partition_within_their_bounds(waste):
    buckets = size_buckets(QM9_SIZES, lambda atoms: 64, waste)
    assert sorted(np.concatenate(buckets).tolist()) == list(range(len(QM9_SIZES)))
    assert max(map(len, buckets)) == 64
    for bucket in buckets:
        sizes = QM9_SIZES[bucket]
        assert sizes.max() ** 2 <= (1 + waste) * sizes.min() ** 2
    assert (np.diff([QM9_SIZES[bucket].min() for bucket in buckets]) >= 0).all()


def test_buckets_are_filled_and_cross_sizes_only_where_waste_allows():
    assert [len(bucket) for bucket in size_buckets([9] * 130, lambda atoms: 64)] == [64, 64, 2]
    assert [bucket.tolist() for bucket in size_buckets([21, 20, 2, 3], lambda atoms: 64)] == [[2], [3], [1, 0]]
