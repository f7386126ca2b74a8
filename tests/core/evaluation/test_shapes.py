"""Geometry by hand, and the distance of histograms against SciPy's."""

import numpy as np
import pytest

from ead_core.chemistry.perception import perceive
from ead_core.evaluation.distances import geometry
from ead_core.evaluation.shapes import BINS, add_shapes, shapes_of, wasserstein
from ead_core.evaluation.tally import Tally


def measured(shapes, kind, pattern):
    """The centres of the bins that are not empty, as often as they were hit."""
    return np.repeat(BINS[kind].centres, shapes[kind][pattern])


def test_water():
    angle = np.radians(104.5)
    positions = np.array([[0, 0, 0], [0.96, 0, 0], [0.96 * np.cos(angle), 0.96 * np.sin(angle), 0]])
    shapes = shapes_of(perceive(np.array([8, 1, 1]), positions))
    assert measured(shapes, "bond", "H-O") == pytest.approx([0.96] * 2, abs=0.005)
    assert measured(shapes, "angle", "H-O-H") == pytest.approx([104.5], abs=0.5)
    assert shapes["torsion"] == {}


@pytest.mark.parametrize(("smiles", "degrees"), [("C/C=C/C", 180), (r"C/C=C\C", 0)])
def test_torsions_tell_cis_from_trans(embedded, smiles, degrees):
    shapes = shapes_of(perceive(*embedded(smiles)))
    assert list(shapes["torsion"]) == ["C-C=C-C"]
    assert measured(shapes, "torsion", "C-C=C-C") == pytest.approx([degrees], abs=4)


def test_mirror_images_and_rigid_motions_change_nothing(embedded):
    numbers, positions = embedded("C[C@H](O)C(=O)NC#N")
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    plain, moved = (shapes_of(perceive(numbers, x)) for x in (positions, -(positions @ rotation) + 5))
    for kind, patterns in plain.items():
        assert patterns.keys() == moved[kind].keys()
        for pattern, counts in patterns.items():
            # float32 coordinates round, which can move a value across the edge of a bin
            assert wasserstein(counts, moved[kind][pattern], BINS[kind].width) <= 1.01 * BINS[kind].width


def test_patterns_read_the_same_from_either_end(embedded):
    assert {"H-O", "C-O", "C=O", "C-H"} == shapes_of(perceive(*embedded("OC=O")))["bond"].keys()


def test_distance_agrees_with_scipy():
    from scipy.stats import (
        wasserstein_distance,
    )  # takes seconds to import, and not in each process that looks for tests

    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 50, size=(2, 90))
    centres = BINS["torsion"].centres
    assert wasserstein(first, second, 2.0) == pytest.approx(
        wasserstein_distance(centres, centres, first, second), rel=1e-12
    )
    assert wasserstein(first, 3 * first, 2.0) == 0


def test_geometry_weighs_patterns_by_their_number_and_tells_what_it_left_out(embedded):
    real, other = Tally(1, 1), Tally(1, 1)
    counts = np.zeros(400, dtype=np.int64)
    near, far, rare = counts.copy(), counts.copy(), counts.copy()
    near[100], far[110], rare[5] = 300, 100, 7
    real.shapes = {"bond": {"C-C": near, "C-O": far, "C-F": rare}}
    other.shapes = {"bond": {"C-C": np.roll(near, 2), "C-O": np.roll(far, 10), "C-F": rare}}
    figure = geometry(other, real)["w1_bond"]
    assert figure.value == pytest.approx((300 * 2 + 100 * 10) / 400 * 0.005)
    assert (figure.known, figure.of) == (400, 407)
    total = Tally()
    total.add(real)
    total.add(real)
    assert total.shapes["bond"]["C-C"].sum() == 600
    assert real.shapes["bond"]["C-C"].sum() == 300  # adding leaves what is added as it is


def test_a_tally_comes_back_from_its_file(tmp_path, embedded):
    mol = perceive(*embedded("CC(=O)Nc1ccccc1"))
    tally = Tally(2, 1, shapes=shapes_of(mol))
    tally.sizes[19] += 2
    tally.elements["C"] += 8
    tally.valencies["N+1", (0, 4)] += 3
    tally.save(tmp_path / "tally.npz")
    back = Tally.load(tmp_path / "tally.npz")
    assert (back.molecules, back.perceived) == (2, 1)
    assert (back.sizes, back.elements, back.valencies) == (tally.sizes, tally.elements, tally.valencies)
    add_shapes(back.shapes, {})
    for kind, patterns in tally.shapes.items():
        for pattern, counts in patterns.items():
            assert np.array_equal(back.shapes[kind][pattern], counts)
