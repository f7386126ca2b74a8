"""The measured quality of a checkpoint: one document, read back as it was written, or refused in one sentence."""

import json

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import PRETRAINED, bundled
from ead_core.errors import DataError
from ead_core.evaluation.compare import differences, lacks_tables, side_by_side
from ead_core.evaluation.published import evaluate_published
from ead_core.evaluation.quality import EARLIER, QUALITY, Quality, load_quality
from ead_core.evaluation.quality_cards import load_cards, measured_setting

from ..conftest import build, join


@pytest.fixture
def quality(by_hand):
    """Of ten molecules, of which the second setting makes more stable ones."""
    methane, torn = by_hand["methane"], build("CHHHH", 10 * np.array(by_hand["methane"][1]))
    costs = {"id": range(10), "nfe": [51] * 10, "seconds": [0.5] * 10}
    first, second = (
        evaluate_published(join(*[torn] * bad, *[methane] * (10 - bad), properties=costs), set()) for bad in (6, 0)
    )
    rows = [measured_setting("first", {}, first), measured_setting("second", {"sampler.steps": 5}, second, first)]
    return Quality(checkpoint="tiny", protocol="by hand", seed=0, rows=rows)


def test_what_is_written_is_read(quality, tmp_path):
    assert load_quality(tmp_path) is None
    quality.save(tmp_path / QUALITY)
    assert json.loads((tmp_path / QUALITY).read_text())["schema_version"] == 1
    assert load_quality(tmp_path) == quality
    assert quality.rows[1].molecule_stability_difference == pytest.approx(0.6)
    assert quality.rows[1].molecule_stability_p_value == pytest.approx(2 / 64)
    assert "molecule_stability_difference" not in quality.rows[0].to_json()
    assert "second" in quality.rows[1].sentence()
    assert quality.rows[1].sentence().endswith("molecule stability 100.0 % (72.2–100.0), 51 network calls")


def test_the_document_under_its_earlier_name_is_read_and_an_evaluation_card_is_none(quality, by_hand, tmp_path):
    quality.save(tmp_path / EARLIER)
    assert load_quality(tmp_path) == quality
    evaluate_published(join(by_hand["methane"])).card.save(tmp_path / EARLIER)
    assert load_quality(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema_version": 7}, r"is the measured quality of a checkpoint of version 7; this program reads 1\.$"),
        ({"rows": []}, r"is not the measured quality of a checkpoint \(rows: .*at least 1 item.*\)\.$"),
        (
            {"rows": [{"setting": "mine"}]},
            r"is not the measured quality of .* \(rows\.0\..*: Field required\)\.$",
        ),
        ({"seed": "x"}, r"is not the measured quality of a checkpoint \(seed: .*\)\.$"),
    ],
)
@pytest.mark.parametrize("name", [QUALITY, EARLIER])
def test_another_document_is_refused_in_one_sentence(quality, tmp_path, name, change, told):
    (tmp_path / name).write_text(json.dumps({**quality.to_json(), **change}))
    with pytest.raises(DataError, match=told):
        load_quality(tmp_path)


def test_a_row_without_the_interval_that_is_shown_is_refused(quality, tmp_path):
    stored = quality.to_json()
    stored["rows"][0]["intervals"] = {}
    (tmp_path / QUALITY).write_text(json.dumps(stored))
    with pytest.raises(DataError, match="molecule_stability needs an interval"):
        load_quality(tmp_path)


def test_settings_are_compared_like_cards(quality, tmp_path):
    quality.save(tmp_path / QUALITY)
    cards = load_cards(tmp_path)
    assert [one.card.name for one in cards] == ["tiny, first", "tiny, second"]
    assert cards[0].card.figure("uniqueness").of == 10
    titles = [row[0] for row in side_by_side(cards)]
    assert {"molecule stability", "novelty among the unique", "seconds per molecule"} < set(titles)
    assert [one.card for one in load_cards(tmp_path / QUALITY)] == [one.card for one in cards]
    with pytest.raises(DataError, match=r"holds neither quality\.json nor card\.json; `ead measure` measures"):
        load_cards(tmp_path.parent)


def test_settings_of_one_document_are_compared_pair_by_pair_as_they_were_measured(quality, tmp_path):
    quality.save(tmp_path / QUALITY)
    first, second = load_cards(tmp_path)
    change = differences(first, second)["molecule_stability"]
    assert (change.pairs, change.difference) == (10, pytest.approx(0.6))
    assert change.p_value == pytest.approx(2 / 64)  # McNemar; Fisher's exact test would give 0.01
    assert not lacks_tables([first, second])
    assert differences(second, first)["molecule_stability"].pairs == 0
    assert lacks_tables([second, first])


def test_the_first_documents_do_not_say_that_they_have_compared_pairs(quality, tmp_path):
    stored = quality.to_json()
    assert stored["rows"][1].pop("pairs") == 10
    (tmp_path / QUALITY).write_text(json.dumps(stored))
    assert differences(*load_cards(tmp_path))["molecule_stability"].pairs == 10
    stored["rows"][1]["pairs"] = 0  # the network decides how many atoms there are, so that nothing is paired
    (tmp_path / QUALITY).write_text(json.dumps(stored))
    assert lacks_tables(load_cards(tmp_path))


@pytest.mark.parametrize("name", [name for name in bundled() if name not in ("qm9-judge", "qm9-selector")])
def test_bundled_checkpoints_have_been_measured(name):
    quality = load_quality(PRETRAINED / name)
    assert quality.checkpoint == name
    assert len(quality.rows) >= 3
