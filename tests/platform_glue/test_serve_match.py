"""A table of wishes over HTTP: what each gets, why others get nothing, and what is refused where."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.targets import Targets
from ead_core.evaluation import jury
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import CRITERIA
from ead_core.prediction.calibration import Errors
from ead_core.sampling import delivery, in_range, matching, wishes
from ead_core.sampling.matches import SPARE
from ead_core.sampling.matching import TOO_FEW, WRONG_ATOMS, match
from serve.app import api
from serve.document import tailored
from serve.limits import Border, RefusalError
from serve.schema import MoleculesRequest
from serve.settings import ServeSettings

from .. import planted
from ..in_this_process import in_this_process
from ..planted import gap
from .served_here import served

KINDS = 11
BAD = "its first atom is on the right"
QUICK = {"policy": "synchronous", "steps": 3, "repair_attempts": 0}
TABLE = [{"gap": 4000}, {"gap": 4500}, {"gap": [5200, 5800]}, {"gap": 6000.0, "atoms_C": None}, {"gap": 7000}]
COLUMNS = {"gap": [4000, 4500, (5200, 5800), 6000, 7000], "atoms_C": [None] * 5}


def judged(chunk, acceptance):
    """About half are refused, and the others are of eleven kinds."""
    right = chunk.molecules.positions[chunk.molecules.offsets[:-1], 0] > 0
    keys = [f"kind {number % KINDS}" for number in chunk.molecules.properties["id"].tolist()]
    return [Verdict(BAD if bad else "", key) for bad, key in zip(right.tolist(), keys, strict=True)]


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    """A selector that measures, and criteria that cost nothing."""
    selector = planted.selector(Errors(1.0, 1, 1, 1, 1), 1000.0)
    monkeypatch.setattr(matching, "selector_of", lambda *_: selector)
    monkeypatch.setattr(in_range, "selector_of", lambda *_: selector)
    monkeypatch.setattr(wishes, "predict", lambda predictor, config, statistics, some: {"gap": gap(some)})
    for module in (delivery, jury):
        monkeypatch.setattr(module, "judge", judged)
    with in_this_process():
        yield


@pytest.fixture
def settings(conditional_checkpoint):
    return ServeSettings(
        checkpoint=str(conditional_checkpoint), max_molecules=8, max_network_calls=400, batch_molecules=4
    )


def body(targets=TABLE, sampler=QUICK, **more):
    chosen = {f"sampler.{key}": value for key, value in sampler.items()}
    return {"match": True, "targets": targets, "seed": 3, "sampler": chosen, **more}


TRAFFIC = [{"num": num, "sampler": {"sampler.policy": "synchronous", "sampler.steps": 9}} for num in (8, 3)]


@pytest.mark.parametrize(
    ("sampler", "more"),
    [
        (QUICK, {}),
        (QUICK, {"pool": 5, "max_attempts": 17}),
        ({**QUICK, "repair_attempts": 2}, {"max_attempts": 12}),
    ],
)
def test_what_wishes_get_is_what_the_core_gives_them_whatever_others_ask_for(settings, sampler, more):
    answer, *others, again = served(settings, body(sampler=sampler, **more), *TRAFFIC, body(sampler=sampler, **more))
    assert {each.status for each in (answer, *others, again)} == {200}, answer.body
    alone = match(load_checkpoint(settings.checkpoint), Targets.of_columns(COLUMNS), 3, **more, **sampler)
    made, ledger = answer.json()["molecules"], answer.json()["ledger"]
    for name in ("id", "wish", "nfe"):
        assert [molecule[name] for molecule in made] == alone.molecules.properties[name].tolist()
    assert [molecule["distance"] for molecule in made] == pytest.approx(
        alone.molecules.properties["distance"], abs=1e-3
    )
    for index, molecule in enumerate(made):
        assert np.allclose(molecule["positions"], alone.molecules.molecule(index)[1], atol=1e-4)
    assert {row["wish"]: row["reason"] for row in answer.json()["unmet"]} == alone.unmet
    assert ledger["attempts"] == ledger["delivered"] + sum(ledger["refused"].values())
    assert ledger["delivered"] == len(made) == 5 - len(answer.json()["unmet"])
    told = json.loads(answer.headers["x-ledger"])
    assert {**told, "seconds": 0} == {**alone.ledger.to_json(), "seconds": 0}
    assert ledger == {**told, "in_range": None}
    assert [molecule["id"] for molecule in again.json()["molecules"]] == [molecule["id"] for molecule in made]
    assert {BAD, SPARE} & set(ledger["refused"])


def test_no_molecule_is_there_twice_though_every_round_is_a_delivery_of_its_own(settings):
    (answer,) = served(settings, body(max_attempts=40))
    kinds = [molecule["id"] % KINDS for molecule in answer.json()["molecules"]]
    assert len(set(kinds)) == len(kinds) > 0
    assert answer.json()["ledger"]["refused"][CRITERIA["unique"].refusal] > 0


def test_a_molecule_tells_which_row_it_is_for_and_how_near_it_comes(settings):
    (answer,) = served(settings, body(accept="valid"))
    molecules = {molecule["wish"]: molecule for molecule in answer.json()["molecules"]}
    first, ranged = molecules[1], molecules[3]
    assert first["targets"] == {"gap_low": 4000, "gap_high": 4000, "atoms_C": None}
    assert (ranged["targets"]["gap_low"], ranged["targets"]["gap_high"]) == (5200, 5800)
    assert first["distance"] == pytest.approx(abs(first["predicted"]["gap"] - 4000) / 1000)
    assert ">  <wish>\n1\n" in first["sdf"]
    (plain,) = served(settings, {"num": 1})
    molecule = plain.json()["molecules"][0]
    assert (molecule["wish"], molecule["distance"], molecule["predicted"]) == (None, None, {})
    assert plain.json()["unmet"] is None


def test_rows_may_have_sizes_and_who_gets_nothing_is_told_why(settings):
    table = [{"gap": 500, "num_atoms": size} for size in (4, 5, 4.0)]
    enough, few = served(settings, body(table, accept="valid", max_attempts=30), body(table, max_attempts=3))
    sizes = {molecule["wish"]: len(molecule["elements"]) for molecule in enough.json()["molecules"]}
    assert sizes == {1: 4, 2: 5, 3: 4}
    assert enough.json()["unmet"] == []
    unmet = {row["wish"]: row["reason"] for row in few.json()["unmet"]}
    met = {molecule["wish"] for molecule in few.json()["molecules"]}
    assert met | set(unmet) == {1, 2, 3}
    assert not met & set(unmet)
    assert set(unmet.values()) <= {TOO_FEW, WRONG_ATOMS}
    assert unmet
    assert few.json()["ledger"]["asked"] == 3


def test_where_nothing_is_accepted_all_wishes_go_without(settings, monkeypatch):
    monkeypatch.setattr(jury, "judge", lambda chunk, acceptance: [Verdict(BAD, None)] * len(chunk.molecules))
    (answer,) = served(settings, body())
    assert answer.status == 200
    assert answer.json()["molecules"] == []
    assert answer.json()["unmet"] == [{"wish": wish, "reason": TOO_FEW} for wish in range(1, 6)]
    assert answer.json()["ledger"]["refused"] == {BAD: 20}


def test_in_range_holds_where_only_some_rows_name_a_range(settings):
    """Further attempts may be for the other rows alone."""
    (answer,) = served(settings, body([{"gap": 1e9}, {"gap": [0, 1e9]}], accept="valid & in_range"))
    assert answer.status == 200, answer.body
    assert answer.json()["ledger"]["delivered"] == 2


@pytest.mark.parametrize(
    ("changes", "place", "sentence"),
    [
        ({"targets": None}, ["targets"], "must be a list where match is given, a row per wish"),
        ({"targets": {"gap": 6500}}, ["targets"], "must be a list where match is given, a row per wish"),
        ({"match": False}, ["targets"], "must be an object, which all molecules share; a list of wishes needs match."),
        ({"match": False, "targets": {"gap": 6500}, "pool": 2}, ["pool"], "needs match, which matches molecules"),
        ({"num": 4}, ["num"], "must be left out where match is given"),
        ({"until": 4}, ["until"], "must be left out where match is given"),
        ({"format": "sdf"}, ["format"], "must be json where match is given"),
        ({"format": "smiles"}, ["format"], "must be json where match is given"),
        ({"match": 1}, ["match"], "valid boolean"),
        ({"best_of": 2}, ["best_of"], "Unknown key; known are num,"),
        ({"pool": 0}, ["pool"], "greater than or equal to 1"),
        ({"pool": 9, "max_attempts": 8}, ["pool"], "pool must be at most max_attempts, 8, not 9."),
        ({"max_attempts": 10**6}, ["max_attempts"], "ask for at most 25000 with these settings"),
        ({"pool": 10**5}, ["max_attempts"], "200000 molecules that may need 4 network calls each are more than"),
        ({"targets": []}, ["targets"], "must have between 1 and 8 rows, not 0."),
        ({"targets": [{"gap": 6500}] * 9}, ["targets"], "must have between 1 and 8 rows, not 9."),
        ({"targets": [{"gap": 1}, {"gpa": 1}]}, ["targets", 1, "gpa"], "accepted are gap, atoms_C."),
        ({"targets": [{"gap": 1}, {"gap": "1"}]}, ["targets", 1, "gap"], "must be a number or [low, high]"),
        (
            {"targets": [{"atoms_C": 1}, {"gap": 1}, {"atoms_C": 1.5}]},
            ["targets", 2, "atoms_C"],
            "must be a number of atoms, not 1.5.",
        ),
        ({"targets": [{"gap": 1}, {"num_atoms": 7}]}, ["targets", 1, "num_atoms"], "between 4 and 6, as in training"),
        ({"targets": [{"num_atoms": [4, 5]}]}, ["targets", 0, "num_atoms"], "between 4 and 6, as in training"),
        ({"targets": [{"num_atoms": 4.5}]}, ["targets", 0, "num_atoms"], "between 4 and 6, as in training, not 4.5."),
        ({"targets": [{"atoms_C": 30}]}, ["targets"], "must bring at most 6 atoms, as in training, not 30."),
        ({"targets": [{"num_atoms": 4}], "sizes": [4]}, ["targets"], "given twice, as sizes and in the column"),
        (
            {"targets": [{"atoms_C": 5}, {"gap": 1}], "sizes": [6, 4]},
            ["targets"],
            "ask for 5 atoms by element, but the",
        ),
        ({"targets": [{"gap": 1}], "accept": "in_range"}, ["accept"], "in_range needs a range among the targets"),
    ],
)
def test_a_table_that_cannot_be_matched_is_refused_at_its_place(settings, changes, place, sentence):
    (answer,) = served(settings, {**body(), **changes})
    assert answer.status == 422, answer.body
    (mistake,) = answer.json()["detail"]
    assert mistake["loc"] == ["body", *place]
    assert sentence in mistake["msg"]


def test_properties_that_nobody_predicts_are_refused_at_the_targets(settings, monkeypatch):
    monkeypatch.undo()  # the bundled selector has not learnt from this model's labels
    border = Border(settings.load(), settings)
    with pytest.raises(RefusalError, match="gap must be predicted, and no bundled selector") as raised:
        border.admit(MoleculesRequest.model_validate(body()))
    assert raised.value.location == ("body", "targets")
    counted = MoleculesRequest.model_validate(body([{"atoms_C": 1}, {"atoms_C": 2}]))
    assert border.admit(counted).num == 2


def test_a_mistake_in_a_row_ends_the_look_at_a_long_table():
    with pytest.raises(ValidationError, match="at most 2000 values in all rows, not 3000"):
        MoleculesRequest.model_validate({"targets": [{"a": 1, "b": 1, "c": 1}] * 1000})


def test_the_document_offers_rows_of_what_the_model_knows(settings):
    border = Border(settings.load(), settings)
    schema = tailored(api.openapi(), border, border)["components"]["schemas"]["MoleculesRequest"]
    rows = schema["properties"]["targets"]["anyOf"][1]
    assert (rows["minItems"], rows["maxItems"]) == (1, 8)
    assert set(rows["items"]["properties"]) == {"gap", "atoms_C", "num_atoms"}
    sizes = {"type": "integer", "minimum": 4, "maximum": 6}
    assert rows["items"]["properties"]["num_atoms"] == {"anyOf": [sizes, {"type": "null"}]}
    assert any("match" in example for example in schema["examples"])
    for example in schema["examples"]:
        MoleculesRequest.model_validate(example)
