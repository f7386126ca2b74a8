import json

import numpy as np
import pytest

from benchmarks import reference_metrics
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation import published as card_module
from ead_core.evaluation.compare import differences
from ead_core.evaluation.protocols import SHARES
from ead_core.evaluation.published import evaluate_published, training_smiles
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


def values(card):
    return {name: figure.value for name, figure in card.sections["published"].items()}


def test_the_definitions_on_six_molecules(generated):
    found = evaluate_published(generated, {WATER, "unrelated"})
    stable_atoms = 5 + 5 + 3 + stability(generated).stable_atoms[3]
    assert values(found.card) == pytest.approx(
        {
            "atom_stability": stable_atoms / (5 + 5 + 3 + 6 + 1 + 2),
            "molecule_stability": 3 / 6,
            "validity": 4 / 6,
            "uniqueness": 3 / 4,
            "validity_x_uniqueness": 3 / 6,
            "novelty": 2 / 3,
        }
    )
    assert found.card.attempts == 6
    assert found.card.figure("nfe").value == 1001
    assert found.card.figure("seconds").value == pytest.approx(0.6)
    assert found.columns.flags("stable").tolist() == [True, True, True, False, False, False]
    assert found.columns.texts("published_smiles") == [METHANE, METHANE, WATER, None, "C", None]


def test_agrees_with_the_plain_protocol(shaken):
    found = values(evaluate_published(shaken, {METHANE}).card)
    expected = reference_metrics.protocol([shaken.molecule(i) for i in range(len(shaken))], {METHANE})
    assert found == pytest.approx(expected, abs=1e-12)


def test_every_known_share_lies_in_its_interval(shaken):
    card = evaluate_published(shaken, {METHANE}).card
    assert tuple(card.sections["published"]) == tuple(SHARES)
    for figure in card.sections["published"].values():
        low, high = figure.interval
        assert 0 <= low <= figure.value <= high <= 1
        assert low < high


def test_without_valid_molecules_nothing_divides_by_zero():
    card = evaluate_published(join(build("CH", [[0, 0, 0], [np.nan, 0, 0]])), set()).card
    assert values(card) == dict.fromkeys(SHARES, 0.0)
    assert card.figure("uniqueness").interval == (0.0, 1.0)
    json.dumps(card.to_json(), allow_nan=False)


def test_an_empty_set_is_a_mistake():
    with pytest.raises(DataError, match="no molecules"):
        evaluate_published(MoleculeSet.from_lists([], []))


def test_the_document(generated):
    document = json.loads(json.dumps(evaluate_published(generated).card.to_json(), allow_nan=False))
    assert document["schema_version"] == 2
    assert document["num_molecules"] == 6
    assert document["novelty"] is None
    assert "novelty" not in document["intervals"]
    assert all(isinstance(document[name], float) for name in SHARES if name != "novelty")
    assert document["intervals"]["validity"] == pytest.approx([0.2999, 0.9032], abs=1e-3)
    assert document["nfe_per_molecule"] == 1001
    assert evaluate_published(generated.select([0])).card.to_json()["validity"] == 1.0


def test_an_unknown_cost_is_left_out(by_hand):
    card = evaluate_published(join(by_hand["water"], properties={"nfe": [np.nan]})).card
    assert card.to_json()["nfe_per_molecule"] is None
    with pytest.raises(DataError, match="the card of molecules has no figure 'nfe'; it has atom_stability, "):
        card.figure("nfe")


def test_equal_ids_and_sizes_are_compared_pair_by_pair(by_hand):
    methane, torn = by_hand["methane"], build("CHHHH", 10 * np.array(by_hand["methane"][1]))
    ids = {"id": range(10)}
    a = evaluate_published(join(*[torn] * 6, *[methane] * 4, properties=ids))
    b = evaluate_published(join(*[methane] * 10, properties=ids))
    change = differences(a, b)["molecule_stability"]
    assert (change.difference, change.pairs) == (pytest.approx(0.6), 10)
    assert change.p_value == pytest.approx(2 / 64)
    assert differences(a, b)["validity"].p_value == 1
    assert change.metrics("molecule_stability")["molecule_stability_difference"] == change.difference


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
    found = values(evaluate_published(qm9.select(np.random.default_rng(0).permutation(len(qm9))[:3000])).card)
    assert 0.988 < found["atom_stability"] < 0.997
    assert 0.945 < found["molecule_stability"] < 0.975
    assert 0.970 < found["validity"] < 0.990
    assert found["uniqueness"] > 0.999
