"""What is left open is taken from training molecules that come near to what is asked."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ead_core.config import ConditioningConfig
from ead_core.data import joint_prior
from ead_core.data.joint_prior import JointPrior, Wish
from ead_core.data.labels import labels_of
from ead_core.errors import CheckpointError

NAMES = ("alpha", "mu", "atoms_N")
WHOLE = np.array([False, False, True])
SCALES = np.array([2.0, 1.0, 1.0])


def table():
    """2,000 rows: alpha is twice the size to within 1, mu is 0 to 4 and known of the even rows, nitrogens 0 to 3."""
    generator, sizes = np.random.default_rng(0), np.arange(2000) % 20 + 5
    alpha = 2 * sizes + generator.uniform(-1, 1, 2000)
    mu = np.where(np.arange(2000) % 2, np.nan, generator.uniform(0, 4, 2000))
    values = np.stack([alpha, mu, np.arange(2000) // 20 % 4], axis=1)
    return JointPrior(NAMES, sizes.astype(np.int32), values.astype(np.float32))


def wish(*bounds, **sizes):
    low, high = np.array([(np.nan, np.nan) if b is None else b if isinstance(b, tuple) else (b, b) for b in bounds]).T
    return Wish(low, high, WHOLE, **sizes)


def test_the_nearest_rows_in_a_value_are_found():
    prior = table()
    rows = prior.candidates(wish(30.0, None, None), SCALES)
    assert len(rows) == 64
    farthest = np.abs(prior.values[rows, 0] - 30).max()
    assert (np.abs(prior.values[:, 0] - 30) <= farthest).sum() == 64


def test_distances_are_in_units_of_the_scales():
    prior = JointPrior(NAMES[:2], np.array([5, 6], np.int32), np.array([[10, 3], [13, 1]], np.float32))
    ask = Wish(np.array([10.0, 1.0]), np.array([10.0, 1.0]), np.zeros(2, dtype=bool))
    assert prior.candidates(ask, np.array([10.0, 1.0])).tolist() == [1]
    assert prior.candidates(ask, np.array([1.0, 10.0])).tolist() == [0]


def test_a_range_alone_takes_all_rows_within_it():
    prior = table()
    rows = prior.candidates(wish(None, (1.0, 2.0), None), SCALES)
    mu = prior.values[:, 1]
    assert rows.tolist() == np.flatnonzero((mu >= 1) & (mu <= 2)).tolist()


def test_whole_numbers_ranges_and_sizes_are_met_exactly_where_they_can_be():
    prior = table()
    rows = prior.candidates(wish(None, (1.0, 2.0), 3.0, smallest=10, largest=12), SCALES)
    assert len(rows) >= 3
    assert set(prior.values[rows, 2]) == {3}
    assert set(prior.sizes[rows]) <= {10, 11, 12}
    exact = prior.candidates(wish(None, None, 3.0), SCALES)
    assert len(exact) == 500


def test_rows_that_meet_nothing_exactly_come_by_distance():
    prior = table()
    rows = prior.candidates(wish(None, (9.0, 10.0), None), SCALES)
    assert 0 < len(rows) <= 64
    assert prior.values[rows, 1].min() >= np.sort(prior.values[:, 1][::2])[-len(rows)]
    assert set(prior.values[prior.candidates(wish(None, None, 8.0), SCALES), 2]) == {3}


def test_rows_with_fewer_unknowns_go_first_and_none_is_needed():
    prior = table()
    assert (prior.candidates(wish(30.0, 2.0, None), SCALES) % 2 == 0).all()
    unknown = JointPrior(NAMES, prior.sizes, np.where([True, False, True], prior.values, np.nan).astype(np.float32))
    assert len(unknown.candidates(wish(30.0, 2.0, None), SCALES)) == 64


def test_training_molecules_with_all_labels_fill_up_to_half_of_the_table(labelled, monkeypatch):
    monkeypatch.setattr(joint_prior, "MOST_ROWS", 60)
    labels = labels_of(labelled, ConditioningConfig(properties=("alpha", "mu")), 0)
    prior = JointPrior.of_training(labelled, labels, 0)
    assert prior.values.shape == (60, 2)
    assert np.isnan(prior.values[:30]).sum() == 0
    assert 5 < np.isnan(prior.values[30:, 1]).sum() < 30  # the others at random
    assert np.abs(prior.values[:, 0] - 5 * prior.sizes).max() <= 1
    few = labels | {"mu": np.where(np.arange(240) < 7, 1.0, np.nan)}
    assert (~np.isnan(JointPrior.of_training(labelled, few, 0).values[:, 1])).sum() == 7


def test_the_table_is_stored_as_it_is(tmp_path):
    prior = table()
    prior.save(tmp_path / "prior.safetensors")
    loaded = JointPrior.load(tmp_path / "prior.safetensors")
    assert loaded.names == NAMES
    assert np.array_equal(loaded.values, prior.values, equal_nan=True)
    assert loaded.digest() == prior.digest()
    assert JointPrior(NAMES, prior.sizes + 1, prior.values).digest() != prior.digest()


def test_what_is_no_table_is_one_sentence(tmp_path):
    path = tmp_path / "prior.safetensors"
    with pytest.raises(CheckpointError, match=r"prior\.safetensors cannot be read"):
        JointPrior.load(path)
    save_file({"sizes": np.zeros(1)}, path, {"names": "[]"})
    with pytest.raises(CheckpointError, match=r"^prior\.safetensors is not .* \(format: Field required\)\.$"):
        JointPrior.load(path)
    save_file({"sizes": np.zeros(1)}, path, {"names": "[]", "format": "ead-prior-2"})
    with pytest.raises(CheckpointError, match=r"molecules of version ead-prior-2; this program reads ead-prior-1\.$"):
        JointPrior.load(path)
    for names in ("[", "7", "[7]"):
        save_file({"sizes": np.zeros(1)}, path, {"names": names, "format": "ead-prior-1"})
        with pytest.raises(CheckpointError, match=r"is not a table of training molecules \(names.*\)\.$"):
            JointPrior.load(path)
    save_file({"sizes": np.zeros(1)}, path, {"names": "[]", "format": "ead-prior-1"})
    with pytest.raises(CheckpointError, match=r"prior\.safetensors cannot be read"):
        JointPrior.load(path)
    save_file({"sizes": np.zeros(2), "values": np.zeros((2, 1))}, path, {"names": "[]", "format": "ead-prior-1"})
    with pytest.raises(CheckpointError, match=r"is damaged: its rows and columns do not fit its names"):
        JointPrior.load(path)
