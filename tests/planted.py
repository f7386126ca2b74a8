"""Properties that are read off the geometry, and a selector whose predictions a test plants."""

from types import SimpleNamespace

import numpy as np


def selector(errors, spread):
    """A stand-in for a predictor of `gap`, with these errors and spread (meV); a test patches in what it predicts."""
    return SimpleNamespace(
        name="stub",
        statistics=SimpleNamespace(properties={"gap": SimpleNamespace(mad=spread)}),
        calibration={"gap": errors},
        fingerprint="f",
        predictor=None,
        config=None,
    )


def from_second_to_first(molecules):
    """[M, 3] where the first atom of each molecule is, seen from its second."""
    return molecules.positions[molecules.offsets[:-1]] - molecules.positions[molecules.offsets[:-1] + 1]


def gap(molecules):
    """[M] a property that every molecule has: how far its first atom is from the second, in 1000 Å."""
    return 1000.0 * np.linalg.norm(from_second_to_first(molecules), axis=1).astype(float)
