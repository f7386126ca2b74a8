import json

import numpy as np
import pytest

from benchmarks import reference_metrics
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation import published as card_module
from ead_core.evaluation.published import FRACTIONS, compare_published, published_card, training_smiles
from ead_core.evaluation.stability import stability

from ..conftest import TETRAHEDRON, build, join

METHANE, WATER = "[H]C([H])([H])[H]", "[H]O[H]"


@pytest.fixture
def generated(by_hand):
    """Methane twice, water, CH₅ (invalid), a lone carbon (valid, unstable) and one that diverged."""
    too_many = build("CHHHHH", [[0, 0, 0], *(1.09 * TETRAHEDRON), [0, 0, 1.09]])
    lost = build("CH", [[0, 0, 0], [np.nan, 0, 0]])
    methane, water = by_hand["methane"], by_hand["water"]
    cost = {"nfe": [1001] * 6, "seconds": [0.5, 0.5, 0.5, 0.5, 1.0, np.nan]}
    return join(methane, methane, water, too_many, build("C", [[0, 0, 0]]), lost, properties=cost)


def test_the_definitions_on_six_molecules(generated):
    card = published_card(generated, {WATER, "unrelated"})
    stable_atoms = 5 + 5 + 3 + stability(generated).stable_atoms[3]
    assert card.atom_stability == pytest.approx(stable_atoms / (5 + 5 + 3 + 6 + 1 + 2))
    assert card.molecule_stability == 3 / 6
    assert card.validity == 4 / 6
    assert card.uniqueness == 3 / 4
    assert card.validity_x_uniqueness == 3 / 6
    assert card.novelty == pytest.approx(2 / 3)
    assert card.num_molecules == 6
    assert card.nfe_per_molecule == 1001
    assert card.seconds_per_molecule == pytest.approx(0.6)
    assert card.stable.tolist() == [True, True, True, False, False, False]
    assert card.smiles == [METHANE, METHANE, WATER, None, "C", None]


def test_agrees_with_the_plain_protocol(shaken):
    card = published_card(shaken, {METHANE})
    expected = reference_metrics.protocol([shaken.molecule(i) for i in range(len(shaken))], {METHANE})
    assert {name: getattr(card, name) for name in FRACTIONS} == pytest.approx(expected, abs=1e-12)


def test_every_known_fraction_lies_in_its_interval(shaken):
    card = published_card(shaken, {METHANE})
    assert tuple(card.intervals) == FRACTIONS
    for name, (low, high) in card.intervals.items():
        assert 0 <= low <= getattr(card, name) <= high <= 1
        assert low < high


def test_unreadable_attempts_count_in_the_denominators(generated):
    card = published_card(generated, skipped=4)
    assert card.num_molecules == 10
    assert card.molecule_stability == 3 / 10
    assert card.validity == 4 / 10
    assert card.uniqueness == 3 / 4
    assert card.validity_x_uniqueness == 3 / 10
    assert "unreadable" in card.table()
    with pytest.raises(DataError, match="unreadable"):
        compare_published(card, card)


def test_without_valid_molecules_nothing_divides_by_zero():
    card = published_card(join(build("CH", [[0, 0, 0], [np.nan, 0, 0]])), set())
    assert [getattr(card, name) for name in FRACTIONS] == [0.0] * 6
    assert card.intervals["uniqueness"] == (0.0, 1.0)
    json.dumps(card.to_json(), allow_nan=False)


def test_an_empty_set_is_a_mistake():
    with pytest.raises(DataError, match="no molecules"):
        published_card(MoleculeSet.from_lists([], []))


def test_the_document(generated):
    document = json.loads(json.dumps(published_card(generated).to_json(), allow_nan=False))
    assert document["schema_version"] == 1
    assert document["num_molecules"] == 6
    assert document["novelty"] is None
    assert "novelty" not in document["intervals"]
    assert all(isinstance(document[name], float) for name in FRACTIONS if name != "novelty")
    assert document["intervals"]["validity"] == pytest.approx([0.2999, 0.9032], abs=1e-3)
    assert document["nfe_per_molecule"] == 1001
    assert published_card(generated.select([0])).to_json()["validity"] == 1.0


def test_an_unknown_cost_is_none(by_hand):
    card = published_card(join(by_hand["water"], properties={"nfe": [np.nan]}))
    assert card.nfe_per_molecule is None
    assert card.seconds_per_molecule is None


def test_the_table_is_aligned_and_in_percent(generated):
    lines = published_card(generated, {WATER}).table().splitlines()
    assert lines[0].split() == ["molecules", "6"]
    assert lines[2].startswith("molecule stability")
    assert "50.00 %" in lines[2]
    assert len({line.index("%") for line in lines[1:7]}) == 1
    assert lines[-2].split() == ["network", "calls", "per", "molecule", "1001.00"]


def test_paired_comparison(by_hand):
    methane, hole = by_hand["methane"], build("C", [[0, 0, 0]])
    a = published_card(join(*[hole] * 6, *[methane] * 4))
    b = published_card(join(*[methane] * 10))
    result = compare_published(a, b)
    assert result["molecule_stability"].difference == pytest.approx(0.6)
    assert result["molecule_stability"].p_value == pytest.approx(2 / 64)
    assert result["validity"].p_value == 1
    with pytest.raises(DataError, match="same molecules twice"):
        compare_published(a, published_card(join(methane)))


def test_training_smiles_are_cached_by_content(generated, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = training_smiles(generated, cache=cache)
    assert first == {METHANE, WATER, "C"} == training_smiles(generated)
    assert len(list(cache.iterdir())) == 1
    other = training_smiles(generated.select([0]), cache=cache)
    assert other == {METHANE}
    monkeypatch.setattr(card_module, "smiles_of", None)  # must not be needed again
    assert training_smiles(generated, cache=cache) == first


def test_qm9_reaches_the_published_figures_of_the_data(qm9):
    """EDM's row "Data": atoms 99.0, molecules 95.2, valid 97.7, all unique; here without fluorine."""
    card = published_card(qm9.select(np.random.default_rng(0).permutation(len(qm9))[:3000]))
    assert 0.988 < card.atom_stability < 0.997
    assert 0.945 < card.molecule_stability < 0.975
    assert 0.970 < card.validity < 0.990
    assert card.uniqueness > 0.999
