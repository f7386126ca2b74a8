"""A client's own molecules over ASGI: read from every form, predicted and measured, refused in a sentence."""

import asyncio
import json

import pytest

from ead_core.data.formats import encode_molecules
from ead_core.evaluation.evaluate import evaluate
from ead_core.evaluation.run import EvaluationPlan
from ead_core.prediction.predict import predict
from serve.own_molecules import MOST, read
from serve.own_schema import OwnMolecules
from serve.reception import LARGEST_FILE
from serve.settings import ServeSettings

from .served_here import JSON, ask, service

pytestmark = pytest.mark.usefixtures("judged_here")

MEDIA = {"sdf": b"chemical/x-mdl-sdfile", "xyz": b"chemical/x-xyz", "smiles": b"chemical/x-daylight-smiles"}


@pytest.fixture(scope="module")
def some():
    return read("CCO\nCC=O\nc1ccccc1", "smiles").molecules


@pytest.fixture
def asked(tiny_checkpoint, tmp_path):
    """Answers to `(path, kind or None for JSON, body)`."""

    def answers(*questions):
        settings = ServeSettings(checkpoint=str(tiny_checkpoint), jobs_folder=str(tmp_path))

        async def run():
            async with service(settings) as app:
                return [
                    await ask(app, path, body, headers=[(b"content-type", MEDIA[kind])] if kind else JSON)
                    for path, kind, body in questions
                ]

        return asyncio.run(run())

    return answers


def as_json(kind, text):
    return json.dumps({"molecules": text.decode(), "format": kind}).encode()


def test_molecules_are_predicted_as_by_the_core_in_every_form(asked, some):
    texts = {kind: encode_molecules(some, f".{kind}") for kind in ("sdf", "xyz")}
    questions = [("/v1/predict", kind, text) for kind, text in texts.items()]
    questions += [("/v1/predict", None, as_json(kind, text)) for kind, text in texts.items()]
    expected = predict(some)
    for answer in asked(*questions):
        assert answer.status == 200, answer.body
        told = answer.json()
        assert (told["predictor"], told["units"]["gap"], told["skipped"]) == ("qm9-judge", "meV", [])
        gaps = [molecule["properties"]["gap"] for molecule in told["molecules"]]
        assert [gap["value"] for gap in gaps] == pytest.approx(expected["gap"].value, rel=1e-3)
        assert all(gap["low"] < gap["value"] < gap["high"] for gap in gaps)


def test_smiles_get_a_conformer_and_what_is_none_is_named(asked):
    (answer,) = asked(("/v1/predict?predictor=qm9-selector", "smiles", b"CCO ethanol\n\nnonsense bad one\nC\n"))
    told = answer.json()
    assert told["predictor"] == "qm9-selector"
    assert [(molecule["name"], molecule["formula"]) for molecule in told["molecules"]] == [
        ("ethanol", "C2H6O"),
        ("line 3", "CH4"),
    ]
    assert told["skipped"] == [{"name": "bad one", "reason": "'nonsense' is no valid SMILES."}]


def test_what_the_predictor_has_not_learnt_is_noted(asked):
    (answer,) = asked(("/v1/predict", "smiles", b"CCCCCCCCCCCCCCCC"))
    assert "do not have 3 to 29 atoms like all that qm9-judge has learnt from" in answer.json()["notes"][0]


def test_molecules_are_measured_as_by_the_core(asked, some):
    (answer,) = asked(("/v1/evaluate?parts=chemistry", "xyz", encode_molecules(some, ".xyz")))
    expected = evaluate(some, plan=EvaluationPlan(("chemistry",))).to_json()
    told = answer.json()
    assert told["skipped"] == []
    assert told["card"]["sections"] == json.loads(json.dumps(expected["sections"]))
    assert told["card"]["about"]["sources"] == ["body"]


def test_the_documented_examples_are_accepted(asked):
    examples = OwnMolecules.model_json_schema()["examples"]
    assert {
        answer.status for answer in asked(*(("/v1/predict", None, json.dumps(each).encode()) for each in examples))
    } == {200}


@pytest.mark.parametrize(
    ("kind", "body", "status", "sentence"),
    [
        ("xyz", b"hello", 400, "the number of atoms, not 'hello'"),
        ("sdf", b"hello", 400, "the body"),
        ("smiles", b"xx\nyy", 400, "no molecule of the body can be read; the first: 'xx' is no valid SMILES."),
        ("smiles", b" \n", 400, "holds no SMILES"),
        ("smiles", b"[Au]", 400, "Au"),
        ("smiles", b"C" * 501, 400, "at most 500 characters, not 501."),
        ("smiles", b"C\n" * (MOST + 1), 413, "at most 1,000 molecules, not 1,001."),
        ("smiles", b"C" * (LARGEST_FILE + 1), 413, "at most 500000 bytes"),
        ("smiles", b"\xff", 422, "must be text in UTF-8."),
        ("smiles", b"", 422, "at least 1 character"),
        (None, b'{"molecules": "C"}', 422, "Field required"),
        (None, b'{"molecules": "C", "format": "pdb"}', 422, "'sdf', 'xyz' or 'smiles'"),
        (None, b'{"molecules": "C", "format": "smiles", "x": 1}', 422, "known are molecules, format"),
        (None, b"[", 422, "JSON"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(asked, kind, body, status, sentence):
    (answer,) = asked(("/v1/predict", kind, body))
    assert answer.status == status, answer.body
    detail = answer.json()["detail"]
    assert sentence in (detail if isinstance(detail, str) else detail[0]["msg"])
    assert "/tmp" not in str(detail)


@pytest.mark.parametrize(
    ("query", "place", "sentence"),
    [
        ("/v1/predict?predictor=x", "predictor", "'qm9-judge' or 'qm9-selector'"),
        ("/v1/evaluate?reference=/etc/passwd", "reference", "'qm9' or 'drugs'"),
        ("/v1/evaluate?parts=chemistry,x", "parts", "'x' is none of geometry, chemistry"),
    ],
)
def test_options_are_refused_by_name(asked, query, place, sentence):
    (answer,) = asked((query, "smiles", b"C"))
    (mistake,) = answer.json()["detail"]
    assert (answer.status, mistake["loc"]) == (422, ["query", place])
    assert sentence in mistake["msg"]
