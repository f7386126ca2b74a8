"""Properties of any molecules: the predictor's own values, intervals of its calibration, and what it does not know."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ead_core import predict
from ead_core.errors import DataError
from ead_core.notes import Note
from ead_core.prediction.calibration import CALIBRATION, Errors, Widening, load_calibration, save_calibration
from ead_core.prediction.judge import load_judge
from ead_core.prediction.predict import unlike_training, with_predictions


@pytest.fixture(scope="module")
def judge():
    return load_judge("qm9-judge")


def test_intervals_are_those_of_the_calibration_for_generated_molecules(judge, make_set):
    molecules = make_set("CCO", "c1ccccc1", "C")
    found = predict(molecules, judge)
    assert list(found) == list(judge.statistics.properties)
    for name, (value, low, high) in found.items():
        assert np.allclose(high - value, judge.calibration[name].widened)
        assert np.allclose(value - low, judge.calibration[name].widened)


@pytest.mark.parametrize(
    ("smiles", "charges", "told"),
    [
        (["CCO", "CC", "CO"], [0, 1, -1], "2 of 3 molecules have a charge, of which qm9-judge is not told; for these"),
        (["[H][H]", "CCCCCCCCCCCC", "CCO"], [0, 0, 0], "2 of 3 molecules do not have 3 to 29 atoms like all that"),
    ],
)
def test_a_note_tells_for_how_many_molecules_the_intervals_do_not_hold(judge, make_set, smiles, charges, told):
    molecules = make_set(*smiles, formal_charge=charges)
    with pytest.warns(Note) as notes:
        predict(molecules, judge)
    (note,) = [str(one.message) for one in notes]
    assert note.startswith(told)
    assert list(unlike_training(molecules.select(np.array([2])), judge)) == [] or charges[2]


def test_what_was_measured_on_generated_molecules_widens_and_is_kept(tmp_path):
    plain = Errors(1, 10, 3, 10, 0.95)
    wide = replace(plain, generated=Widening(1.5, (1.2, 1.9), "a calculation"))
    assert (plain.widened, wide.widened) == (3, 4.5)
    save_calibration(tmp_path, {"gap": plain, "mu": wide}, "w")
    assert load_calibration(tmp_path, "w") == {"gap": plain, "mu": wide}


def test_a_calibration_of_before_is_read(tmp_path):
    old = {"bound": 1, "tested": 10, "half_width": 3, "calibrated": 10, "covered": 0.95}
    (tmp_path / CALIBRATION).write_text(json.dumps({"format": 1, "weights": "w", "properties": {"gap": old}}))
    assert load_calibration(tmp_path, "w") == {"gap": Errors(1, 10, 3, 10, 0.95)}


@pytest.mark.parametrize("name", ["qm9-judge", "qm9-selector"])
def test_the_bundled_predictors_err_more_on_generated_molecules(name):
    calibration = load_judge(name).calibration
    for of in ("homo", "lumo", "gap", "mu"):
        low, high = calibration[of].generated.interval
        assert 1 < calibration[of].widening < 3
        assert low < calibration[of].widening < high
        assert "GFN2-xTB" in calibration[of].generated.origin
    assert calibration["alpha"].widening == calibration["Cv"].widening == 1, "nobody has measured them"


@pytest.mark.parametrize(("smiles", "gap"), [("CCO", 8700), ("c1ccccc1", 6700), ("CC#N", 8900)])
def test_gaps_of_known_molecules_are_near_to_those_of_b3lyp(judge, make_set, smiles, gap):
    """Of ethanol, benzene and acetonitrile, to 10 %."""
    assert predict(make_set(smiles), judge)["gap"].value[0] == pytest.approx(gap, rel=0.1)


def test_the_molecules_keep_what_they_had_and_gain_three_columns_per_property(judge, make_set):
    molecules = make_set("CCO", "C", gap=[0.3, 0.4])
    joined = with_predictions(molecules, predict(molecules, judge))
    assert joined.properties["gap"].tolist() == [0.3, 0.4]
    assert {"predicted_gap", "predicted_gap_low", "predicted_gap_high"} < set(joined.properties)
    assert len(joined.properties) == 1 + 3 * len(judge.statistics.properties)


@pytest.mark.parametrize(
    ("smiles", "told"),
    [(["CCl"], "the molecule has elements"), (["CCl", "C", "CBr"], "2 of 3 molecules have elements")],
)
def test_elements_that_training_did_not_have_are_named(judge, make_set, smiles, told):
    symbols = "Cl, Br" if len(smiles) > 1 else "Cl"
    sentence = rf"{told} that qm9-judge does not know \({symbols}\); it knows H, C, N, O"
    with pytest.raises(DataError, match=sentence):
        predict(make_set(*smiles), judge)
