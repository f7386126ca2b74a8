"""Deliveries of molecules in a range: by the selector all of them, and an account of how many are so in truth."""

from dataclasses import replace

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.targets import Targets
from ead_core.errors import ConfigError
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance
from ead_core.prediction.calibration import Errors
from ead_core.prediction.judge import load_judge
from ead_core.prediction.predict import predict
from ead_core.sampling import in_range, wishes
from ead_core.sampling.choice import independent_judge
from ead_core.sampling.delivery import deliver
from ead_core.sampling.generation import fulfil
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.ledger import InRange, Ledger
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request, sampler_config
from ead_core.sampling.wishes import Wishes

from ... import planted

pytestmark = pytest.mark.usefixtures("measured_here")
HIGH = 5.0  # of the range
RANGE = Targets.of({"gap": (0.0, HIGH)})
IN_RANGE = Acceptance.parse("finite & in_range")


@pytest.fixture(scope="module")
def model(conditional):
    return load_checkpoint(conditional)


@pytest.fixture
def request_for(model):
    settings = sampler_config(model, {"steps": 3, "policy": "synchronous", "repair_attempts": 0})
    return lambda num, targets=RANGE: Request(num, settings, 5, targets=targets)


def measured(molecules):
    """How far to the right the first atom is of the second, from 0 to 10: half of an untrained model's are below 5."""
    right = planted.from_second_to_first(molecules)[:, 0]
    return HIGH + HIGH * np.tanh(right).astype(float)


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    """A selector that measures, and that has never been wrong."""
    errors = Errors(0, 1, 0, 1, 1, tuple(np.linspace(0, 2 * HIGH, 200)), (0.0,) * 200)
    selector = planted.selector(errors, 1.0)
    monkeypatch.setattr(in_range, "selector_of", lambda *_: selector)
    monkeypatch.setattr(in_range, "independent_judge", lambda *_: None)
    monkeypatch.setattr(wishes, "predict", lambda predictor, config, statistics, some: {"gap": measured(some)})
    return selector


def test_what_is_delivered_is_in_the_range_and_the_account_adds_up(model, request_for):
    everything = measured(fulfil(model, request_for(40)))
    inside = np.flatnonzero(everything <= HIGH)
    assert 8 < len(inside) < 36, "the range must divide the attempts"
    molecules, ledger = deliver(model, request_for(1), Order(IN_RANGE, until=6))
    assert molecules.properties["id"].tolist() == inside[:6].tolist()
    assert np.allclose(molecules.properties["predicted_gap"], everything[inside[:6]])
    assert molecules.properties["selected_by"].tolist() == ["f"] * 6
    attempts = int(inside[5]) + 1
    assert (ledger.attempts, ledger.delivered) == (attempts, 6)
    assert ledger.refused == {"outside of the ranges asked for": attempts - 6}
    assert (ledger.in_range.valid, ledger.in_range.predicted) == (attempts, 6)
    assert ledger.in_range.in_truth == 6
    assert ledger.in_range.interval[0] < 6 == ledger.in_range.interval[1]
    assert (
        f"{attempts} were valid and 6 of them predicted to be in range; of those delivered, about 6" in ledger.sentence
    )
    assert Ledger.parse(ledger.to_json(), "the answer") == ledger


def test_what_is_refused_for_itself_is_not_predicted(request_for, model):
    check = RangeCheck.of(model, request_for(3), IN_RANGE)
    made = fulfil(model, request_for(3))
    found = [Verdict("", "a"), Verdict("not valid", None), Verdict("", "c")]
    far = replace(made, positions=np.zeros_like(made.positions))
    far.positions[far.offsets[:-1]] = 1e3
    told, standing = check.refuse(far, found)
    outside = "outside of the ranges asked for"
    assert [verdict.refusal for verdict in standing] == [outside, "not valid", outside]
    assert [verdict.inchikey for verdict in standing] == ["a", None, "c"]
    assert np.isnan(told.properties["predicted_gap"]).tolist() == [False, True, False]


def test_atoms_are_counted(model, request_for):
    counted = Targets.of({"atoms_C": 3, "atoms_O": (1, 2)})
    check, made = RangeCheck.of(model, request_for(8, counted), IN_RANGE), fulfil(model, request_for(8, counted))
    told, standing = check.refuse(made, [Verdict("", None)] * 8)
    right = [(one.charges == 6).sum() == 3 and 1 <= (one.charges == 8).sum() <= 2 for one in told]
    assert [not verdict.refusal for verdict in standing] == right


@pytest.mark.parametrize("targets", [None, Targets.of({"gap": 5.0})])
def test_without_a_range_there_is_nothing_to_be_in(model, request_for, targets):
    with pytest.raises(ConfigError, match=r"the criterion in_range needs a range among the targets, e\.g\. gap=6000"):
        deliver(model, request_for(2, targets), Order(IN_RANGE))


def test_a_selector_whose_errors_nobody_has_kept_gives_no_estimate(model, request_for, stub):
    stub.calibration["gap"] = Errors(0, 1, 0, 1, 1)
    _, ledger = deliver(model, request_for(6), Order(IN_RANGE))
    assert ledger.in_range.in_truth is None
    assert ledger.sentence.endswith("predicted to be in range")


def test_the_numbers_of_a_ledger_tell_what_came_before_the_ranges():
    refused = {"not valid": 3, "outside of the ranges asked for": 5, "not unique": 2, "known": 1}
    assert InRange.counted("valid & in_range & novel=a & unique", 4, refused) == InRange(valid=12, predicted=7)
    assert InRange.counted("valid & unique", 4, refused) is None


def test_what_is_asked_for_is_looked_at_once(model, request_for, stub, monkeypatch):
    asked = []
    monkeypatch.setattr(in_range, "selector_of", lambda *_: asked.append(1) or stub)
    deliver(model, request_for(2), Order(IN_RANGE))
    assert asked == [1]


def test_the_bundled_judge_tells_how_much_the_bundled_selector_errs_on_generated_molecules(make_set, monkeypatch):
    selector = load_judge("qm9-selector")
    judge = independent_judge(selector, ("gap", "mu"))
    assert judge.name == "qm9-judge"
    assert all(len(errors.predicted) == len(errors.residuals) == 1000 for errors in selector.calibration.values())
    molecules = make_set("CCO", "CC=O", "CCN")
    apart = np.abs(predict(molecules, selector)["gap"].value - predict(molecules, judge)["gap"].value)
    monkeypatch.undo()  # the stub
    check = RangeCheck(Wishes(Targets.of({"gap": (0.0, 1e4), "mu": 1.0}), selector))
    told, _ = check.refuse(replace(molecules, properties={"id": np.arange(3)}), [Verdict("", "")] * 3)
    compared = check.compared(told).properties
    assert np.allclose(compared["disagreement_gap"], apart, rtol=1e-4)
    assert "disagreement_mu" not in compared, "of which no range is asked"
    ledger = Ledger.model_construct(delivered=3, in_range=InRange(valid=3, predicted=3))
    usual = selector.calibration["gap"].disagreement[judge.fingerprint]
    wider = max(selector.calibration["gap"].widening, apart.mean() / usual)
    assert check.told(ledger, told).in_range.widening == {"gap": pytest.approx(wider, rel=1e-4)}
