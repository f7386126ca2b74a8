"""The Fréchet ChemNet distance: closed forms, the package's own route, and what is said where it cannot be had."""

import json
import sys

import numpy as np
import pytest

from ead_core.data.store import save_npz
from ead_core.errors import ConfigError, DataError
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.evaluate import evaluate
from ead_core.evaluation.frechet import ENOUGH, activations, frechet, frechet_note, moments_distance
from ead_core.evaluation.moments import Moments
from ead_core.evaluation.reference import load_reference
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.tally import COUNTS, Tally

SMILES = ("C", "CCO", "CCO", "c1ccncc1", "CC(=O)O", "N#CC=O", "C1CC1")
OTHERS = ("CO", "CCN", "c1ccccc1", "CC(N)=O")
WITH = EvaluationPlan(("fcd",), 0, 1)


def gaussian(mean, covariance, count=10_000):
    return Moments(count, np.array(mean, dtype=float), np.array(covariance, dtype=float) * (count - 1))


def test_closed_forms():
    pytest.importorskip("fcd")
    matrix = np.random.default_rng(0).normal(size=(3, 3))
    covariance = matrix @ matrix.T + np.eye(3)
    here, moved = gaussian([1, 2, 3], covariance), gaussian([1, 4, 6], covariance)
    assert moments_distance(here, here) == pytest.approx(0, abs=1e-9)
    assert moments_distance(here, moved) == pytest.approx(2**2 + 3**2)
    narrow, wide = gaussian([0, 0], np.diag([1, 4])), gaussian([0, 0], np.diag([9, 25]))
    assert moments_distance(narrow, wide) == pytest.approx((1 - 3) ** 2 + (2 - 5) ** 2)


def test_the_card_has_the_distance_that_the_package_finds(make_set, tmp_path):
    fcd = pytest.importorskip("fcd")
    save_npz(make_set(*OTHERS), tmp_path / "real.npz")
    card = evaluate(make_set(*SMILES), tmp_path / "real.npz", out=tmp_path / "card", plan=WITH)
    figure = card.sections["chemistry"]["fcd"]
    assert figure.value == pytest.approx(fcd.get_fcd(list(SMILES), list(OTHERS)), rel=1e-3)
    assert (figure.known, figure.of) == (7, 7)
    assert card.about["versions"]["fcd"]
    assert "of 4 molecules is too high" in card.table()
    assert "of 4 molecules is too high" in (tmp_path / "card" / "card.md").read_text()
    assert "of 4 molecules is too high" in (tmp_path / "card" / "card.html").read_text()
    again = evaluate(make_set(*OTHERS), tmp_path / "card", plan=WITH)  # the card's own activations as a reference
    assert again.sections["chemistry"]["fcd"].value == pytest.approx(figure.value, rel=1e-3)


def test_molecules_beyond_the_limit_are_left_out_and_single_ones_have_no_covariance(make_set, tmp_path):
    pytest.importorskip("fcd")
    evaluate(make_set(*SMILES), out=tmp_path / "many", plan=EvaluationPlan((), 0, 1))
    columns, seen = Columns(tmp_path / "many" / "per_molecule.parquet"), []
    assert activations(columns, most=5, progress=seen.append).count == 5 == sum(seen)
    assert activations(columns, most=1) is None


def test_a_reference_without_activations_gives_no_figure_but_a_note():
    measured = Tally(activations=gaussian([0], [[1]]))
    for reference in (None, Tally()):
        assert frechet(measured, reference) == {}
        assert "needs a reference with activations" in frechet_note(measured, reference)
    assert frechet(Tally(), measured) == {}
    assert "needs two molecules" in frechet_note(Tally(), measured)
    assert frechet_note(measured, measured) is None
    few = Tally(activations=gaussian([0], [[1]], ENOUGH - 1))
    assert "4,999 molecules is too high" in frechet_note(measured, few)


def test_a_missing_extra_is_one_sentence_before_any_work(make_set, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcd", None)
    with pytest.raises(ConfigError, match="needs the extra fcd: pip install"):
        evaluate(make_set("CCO"), out=tmp_path / "card", plan=WITH)
    assert not (tmp_path / "card").exists()


def test_bundled_references_have_activations_and_scaffolds():
    for name, molecules in (("qm9", 19_985), ("drugs", 706)):
        reference = load_reference(name)
        assert reference.activations.count == molecules
        assert reference.activations.mean.shape == (512,)
        assert np.linalg.eigvalsh(reference.activations.covariance).min() > -1e-6
        assert len(reference.scaffolds.counts) > 100


def test_tallies_of_the_first_version_are_still_read_and_damaged_ones_named(tmp_path):
    path = tmp_path / "tally.npz"
    Tally(3, 2, activations=gaussian([1, 2], np.eye(2))).save(path)
    stored = dict(np.load(path))
    counts = json.loads(str(stored[COUNTS]))
    old = {key: value for key, value in counts.items() if key != "activations"} | {"version": 1}
    np.savez(path, **{COUNTS: np.array(json.dumps(old))})
    assert (Tally.load(path).molecules, Tally.load(path).activations) == (3, None)
    np.savez(path, **{COUNTS: stored[COUNTS]})
    with pytest.raises(DataError, match="not the tally of an evaluation"):
        Tally.load(path)
    np.savez(path, **{COUNTS: np.array(json.dumps(counts | {"version": 3}))})
    with pytest.raises(DataError, match=r"tally of an evaluation of version 3; this program reads 1 and 2\.$"):
        Tally.load(path)
