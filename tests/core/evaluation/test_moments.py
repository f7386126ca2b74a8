"""Moments against NumPy's, in parts and as they are kept."""

import numpy as np
import pytest

from ead_core.evaluation.moments import Moments

VECTORS = np.random.default_rng(0).normal(size=(40, 6)) @ np.random.default_rng(1).normal(size=(6, 6)) + 100


def test_two_parts_add_up_to_the_whole():
    parts, whole = Moments.of(VECTORS[:13]) + Moments.of(VECTORS[13:]), Moments.of(VECTORS)
    assert parts.count == whole.count == 40
    for moments in (parts, whole):
        np.testing.assert_allclose(moments.mean, VECTORS.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.covariance, np.cov(VECTORS.T), rtol=1e-9, atol=1e-12)


def test_a_part_may_be_a_single_vector():
    parts = Moments.of(VECTORS[:1]) + Moments.of(VECTORS[1:])
    np.testing.assert_allclose(parts.covariance, np.cov(VECTORS.T), rtol=1e-9, atol=1e-12)


def test_counts_stand_for_repeated_vectors():
    counts = np.arange(1, 41)
    counted, repeated = Moments.of(VECTORS, counts), Moments.of(np.repeat(VECTORS, counts, axis=0))
    assert counted.count == repeated.count == 820
    np.testing.assert_allclose(counted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(counted.covariance, repeated.covariance, rtol=1e-9, atol=1e-12)


def test_half_a_covariance_is_enough():
    whole = Moments.of(VECTORS)
    back = Moments.restored(40, whole.mean.astype(np.float32), whole.halved())
    np.testing.assert_allclose(back.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(back.covariance, whole.covariance, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="different sizes"):
        Moments.restored(40, whole.mean[:5], whole.halved())
