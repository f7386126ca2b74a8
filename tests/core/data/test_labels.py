"""A run sees the labels of its half alone, and statistics are of what it sees."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ead_core.config import ConditioningConfig
from ead_core.data.dataset import Statistics, compute_statistics
from ead_core.data.labels import PropertyStatistics, in_half, labels_of, summarise
from ead_core.errors import DataError


def conditioning(*names, half="all"):
    return ConditioningConfig(properties=names, half=half)


def test_the_halves_part_the_molecules_whatever_their_order_and_company(labelled):
    first, second = (in_half(labelled, half, 0) for half in ("first", "second"))
    assert (first ^ second).all()
    assert 90 < first.sum() < 150
    order = np.random.default_rng(0).permutation(len(labelled))[:100]
    assert np.array_equal(in_half(labelled.select(order), "first", 0), first[order])
    assert not np.array_equal(in_half(labelled, "first", 1), first)
    as_floats = replace(labelled, properties={"index": labelled.properties["index"].astype(float)})
    assert np.array_equal(in_half(as_floats, "first", 0), first)


def test_conformers_share_their_half_and_nameless_molecules_are_told_by_their_atoms(labelled):
    names = np.repeat([f"drug {i}" for i in range(60)], 4)
    first = in_half(replace(labelled, properties={"molecule": names, "index": np.arange(240)}), "first", 0)
    assert (first.reshape(60, 4) == first[::4, None]).all()
    assert 15 < first[::4].sum() < 45
    nameless = replace(labelled, properties={})
    assert np.array_equal(in_half(nameless.select([3, 5, 8]), "first", 0), in_half(nameless, "first", 0)[[3, 5, 8]])
    assert 90 < in_half(nameless, "first", 0).sum() < 150


def test_molecules_without_a_name_have_halves_of_their_own(labelled):
    names = np.array(["drug"] * 40 + [""] * 200)
    first = in_half(replace(labelled, properties={"molecule": names}), "first", 0)
    assert len(set(first[:40])) == 1
    assert 70 < first[40:].sum() < 130
    nameless = in_half(replace(labelled, properties={}), "first", 0)
    assert np.array_equal(first[40:], nameless[40:])
    numbers = np.where(names == "", np.nan, 7.0)
    assert np.array_equal(in_half(replace(labelled, properties={"index": numbers}), "first", 0)[40:], nameless[40:])
    matrix = replace(labelled, properties={"molecule": np.ones((240, 2))})
    assert np.array_equal(in_half(matrix, "first", 0), nameless)


def test_measured_properties_of_the_other_half_are_unknown_and_atoms_are_counted_in_all(labelled):
    whole = labels_of(labelled, conditioning("alpha", "mu", "atoms_O"), 0)
    half = labels_of(labelled, conditioning("alpha", "mu", "atoms_O", half="second"), 0)
    mine = in_half(labelled, "second", 0)
    for name in ("alpha", "mu"):
        assert np.array_equal(half[name][mine], whole[name][mine], equal_nan=True)
        assert np.isnan(half[name][~mine]).all()
    assert np.array_equal(half["atoms_O"], whole["atoms_O"])
    assert labels_of(labelled, conditioning(half="second"), 0) == {}


def test_statistics_are_of_the_known_labels_in_border_units():
    found = summarise({"gap": np.array([1.0, np.nan, 2.0, 6.0])})["gap"]
    assert found == PropertyStatistics(mean=3.0, mad=2.0, smallest=1.0, largest=6.0, labels=3)
    assert [found.covers(value) for value in (0.9, 1.0, 6.0000001, 6.1, np.nan)] == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([np.nan, np.nan], "no training molecule has a label of 'mu'"), ([2.0, np.nan, 2.0], "'mu' is 2 in all training")],
)
def test_what_cannot_be_learnt_is_refused(values, sentence):
    with pytest.raises(DataError, match=sentence):
        summarise({"mu": np.array(values)})


def test_statistics_go_through_json_and_old_ones_have_no_properties(labelled):
    labels = labels_of(labelled, conditioning("mu", "alpha"), 0)
    statistics = compute_statistics(labelled, name="", sha256="", labels=labels)
    document = json.loads(json.dumps(statistics.to_json()))
    assert Statistics.from_json(document) == statistics
    assert list(statistics.properties) == ["mu", "alpha"]
    assert "properties" not in compute_statistics(labelled, name="", sha256="").to_json()
    document["properties"][0]["mad"] = 0
    with pytest.raises(DataError, match="properties: must have finite statistics, of labels that differ"):
        Statistics.from_json(document)
    del document["properties"][0]["mad"]
    with pytest.raises(DataError, match=r"\(properties\.mu\.mad: Field required\)"):
        Statistics.from_json(document)


def test_a_property_that_the_data_lack_is_named(labelled):
    with pytest.raises(DataError, match="no numeric property 'homo'; they have alpha, gap, index, mu"):
        labels_of(labelled, conditioning("homo"), 0)
