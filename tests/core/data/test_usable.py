"""Molecules that a damaged network makes: counted by reason, never written as results."""

import gzip

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.data.usable import described, usable
from ead_core.sampling import generation

NO_NUMBER = "a coordinate is not a finite number"


def water(num, bad=(), value=np.nan):
    """Molecules as from `fulfil`, with one bad coordinate in some of them."""
    positions = [np.array([[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]]) for _ in range(num)]
    for index in bad:
        positions[index][1, 2] = value
    properties = {"id": np.arange(num), "nfe": np.full(num, 7), "seconds": np.ones(num)}
    return MoleculeSet.from_lists([np.array([8, 1, 1])] * num, positions, properties)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_unusable_molecules_are_counted_by_reason(value):
    good, faults = usable(water(5, (0, 3), value))
    assert good.properties["id"].tolist() == [1, 2, 4]
    assert faults == {NO_NUMBER: 2}
    assert described(faults) == f"2 of them: {NO_NUMBER}"


def test_an_atom_without_an_element_is_another_reason():
    molecules = water(3, (2,))
    molecules.charges[1] = 0
    good, faults = usable(molecules)
    assert len(good) == 1
    assert described(faults) == f"1 of them: an atom has no element; 1 of them: {NO_NUMBER}"


def test_good_molecules_and_none_have_no_faults():
    assert usable(water(3))[1] == {}
    assert usable(water(3).select([]))[1] == {}


@pytest.fixture
def sample(ead, monkeypatch):
    """`ead sample` of a model that makes given molecules."""

    def sample(molecules, out):
        monkeypatch.setattr(generation, "fulfil", lambda *_: molecules)
        return ead("sample", "qm9-deep", "--num", len(molecules), "--out", out)

    return sample


@pytest.mark.parametrize("out", ["x.sdf", "x.sdf.gz", "x.xyz", "x.npz", "x.parquet"])
def test_sampling_leaves_unusable_molecules_out_and_says_so(sample, tmp_path, out):
    code, _, said = sample(water(4, (1,)), out)
    assert code == 0
    assert f"warning: 1 of 4 molecules are left out (1 of them: {NO_NUMBER})." in said
    assert f"3 molecules → {out}" in said
    content = (tmp_path / out).read_bytes()
    assert b"nan" not in (gzip.decompress(content) if out.endswith("gz") else content).lower()


def test_sampling_that_makes_nothing_usable_fails_and_writes_nothing(sample, tmp_path):
    code, _, said = sample(water(3, (0, 1, 2)), "x.sdf")
    assert code == 2
    assert said.splitlines()[-1] == (
        f"ead: none of the 3 molecules is usable (3 of them: {NO_NUMBER}), so nothing is written."
    )
    assert not list(tmp_path.iterdir())
