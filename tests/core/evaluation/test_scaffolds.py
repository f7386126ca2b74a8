"""Scaffolds of molecules that can be counted by hand, and the cosine against SciPy's."""

from collections import Counter

import numpy as np
import pytest

from ead_core.data.store import save_npz
from ead_core.evaluation.chemistry_and_cost import scaffold_counts
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.evaluate import evaluate
from ead_core.evaluation.reference import load_reference
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.scaffolds import MOST_KEPT, Scaffolds, scaffolds_of
from ead_core.evaluation.table import TABLE

NAPHTHALENE, SPIRO = "c1ccc2ccccc2c1", "C1CC12CC2"
SMILES = ("Cc1ccc2ccccc2c1", NAPHTHALENE, "CC1CC12CC2", "Cc1ccccc1", "CCO")  # the last two have fewer than two rings


def test_side_chains_and_single_rings_do_not_count():
    assert scaffolds_of(SMILES) == {NAPHTHALENE: 2, SPIRO: 1}


def test_cosine_agrees_with_scipy():
    from scipy.spatial.distance import cosine  # takes a second to import, also where tests are only looked for

    rng = np.random.default_rng(0)
    first, second = rng.integers(1, 50, size=(2, 30))
    first[:5] = second[10:14] = 0
    real, ours = (Counter({str(i): int(n) for i, n in enumerate(counts) if n}) for counts in (first, second))
    assert Scaffolds.of(real).similarity(ours) == pytest.approx(1 - cosine(first, second), rel=1e-12)
    assert Scaffolds.of(real).similarity(real) == pytest.approx(1)
    assert Scaffolds.of(real).similarity(Counter()) is None
    assert Scaffolds.of(Counter()).similarity(ours) is None


def test_a_reference_keeps_what_is_frequent_and_the_length_of_all():
    many = Counter({str(i): 2 + i for i in range(MOST_KEPT + 10)} | {"once": 1})
    real = Scaffolds.of(many)
    assert len(real.counts) == MOST_KEPT
    assert min(real.counts.values()) == 12
    assert real.squares == sum(count**2 for count in many.values())
    assert real.similarity(Counter({"once": 1})) == 0
    assert real.known(Counter({"once": 3, "500": 4, "never": 5})) == 4


def test_the_table_and_its_smiles_tell_the_same_scaffolds(make_set, tmp_path):
    for parts in (("chemistry",), ()):
        evaluate(make_set(*SMILES), out=tmp_path / "-".join(("parts", *parts)), plan=EvaluationPlan(parts, 0, 1))
    with_scaffolds, without = (Columns(tmp_path / name / TABLE) for name in ("parts-chemistry", "parts"))
    assert with_scaffolds.distinct("scaffold")
    assert not without.distinct("scaffold")
    assert scaffold_counts(with_scaffolds) == scaffold_counts(without) == {NAPHTHALENE: 2, SPIRO: 1}


def test_the_card_compares_them_with_those_of_a_file_or_of_a_card(make_set, tmp_path):
    save_npz(make_set(NAPHTHALENE, *SMILES), tmp_path / "real.npz")
    plan = EvaluationPlan(("chemistry",), 0, 1)
    evaluate(tmp_path / "real.npz", out=tmp_path / "real", plan=plan)
    for reference in ("real.npz", "real", "real/tally.npz"):
        card = evaluate(make_set(NAPHTHALENE, SPIRO, "CCO"), tmp_path / reference, plan=plan)
        figure = card.sections["chemistry"]["scaffold_similarity"]
        assert figure.value == pytest.approx(4 / np.sqrt(2 * 10))  # (1, 1) and (3, 1)
        assert (figure.known, figure.of) == (2, 2)
    assert load_reference(str(tmp_path / "real")).scaffolds == Scaffolds({NAPHTHALENE: 3, SPIRO: 1}, 10)
