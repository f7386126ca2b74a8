"""The routes about jobs over ASGI, without a server: what a client sees."""

import asyncio
import json

import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.formats import read_molecules
from ead_core.sampling.passport_files import stored_molecule
from ead_core.sampling.reproduction import model_of, reproduce
from serve.app import api
from serve.document import tailored
from serve.errands import Refused
from serve.jobs_desk import Desk
from serve.jobs_schema import Estimation, JobDescription
from serve.jobs_store import StoreError
from serve.limits import Border
from serve.own_schema import Predictions
from serve.schema import JobRequest
from serve.settings import ServeSettings

from .jobs_here import finish
from .served_here import JSON, ask, service

pytestmark = pytest.mark.usefixtures("judged_here")

BODY = {"num": 7, "seed": 4, "sizes": [4, 5], "sampler": {"sampler.policy": "synchronous", "sampler.steps": 8}}


@pytest.fixture
def settings(tiny_checkpoint, tmp_path):
    return ServeSettings(checkpoint=str(tiny_checkpoint), jobs_folder=str(tmp_path / "jobs"), job_shard=3)


def answers(settings, *questions, apart=None):
    """Answers to `(method, path, body)`, one after the other; `{id}` in a path is the first job."""

    async def run():
        found, job = [], ""
        async with service(settings, apart=apart) as app:
            for method, path, *rest in questions:
                body = json.dumps(rest[0]).encode() if rest else None
                headers = [*JSON, *(rest[1] if len(rest) > 1 else ())]
                found.append(await ask(app, path.format(id=job), body, method=method, headers=headers))
                if not job and method == "POST" and found[-1].status == 202:
                    job = found[-1].json()["id"]
                    await asyncio.to_thread(finish, settings)
        return found

    return asyncio.run(run())


def test_a_job_is_asked_for_followed_and_fetched(settings, tmp_path):
    new, told, first, second, sdf, smiles = answers(
        settings,
        ("POST", "/v1/jobs", BODY),
        ("GET", "/v1/jobs/{id}"),
        ("GET", "/v1/jobs/{id}/molecules?limit=4"),
        ("GET", "/v1/jobs/{id}/molecules?limit=4&cursor=4"),
        ("GET", "/v1/jobs/{id}/molecules?format=sdf"),
        ("GET", "/v1/jobs/{id}/molecules?format=smiles&limit=2"),
    )
    assert (new.status, new.json()["state"], new.json()["request"]) == (202, "queued", BODY)
    assert new.headers["location"] == f"/v1/jobs/{new.json()['id']}"
    assert (told.json()["state"], told.json()["problem"]) == ("done", None)
    progress = {"delivered": 7, "attempts": 7, "max_attempts": 7, "rate": None, "seconds_left": None, "ledger": None}
    assert told.json()["progress"] == progress
    assert [molecule["id"] for page in (first, second) for molecule in page.json()["molecules"]] == list(range(7))
    assert (first.json()["next"], first.headers["x-next-cursor"]) == ("4", "4")
    assert second.json()["next"] is None
    assert "x-next-cursor" not in second.headers
    (tmp_path / "all.sdf").write_bytes(sdf.body)
    assert len(read_molecules(tmp_path / "all.sdf").molecules) == 7
    assert (smiles.headers["content-type"], len(smiles.body.splitlines())) == ("chemical/x-daylight-smiles", 2)


def test_a_molecule_of_a_page_is_made_again_from_it(settings, tiny_checkpoint, tmp_path):
    _, page = answers(settings, ("POST", "/v1/jobs", BODY), ("GET", "/v1/jobs/{id}/molecules?cursor=4"))
    (tmp_path / "page.json").write_bytes(page.body)
    stored = stored_molecule(tmp_path / "page.json", 5)
    assert reproduce(model_of(stored.passport, str(tiny_checkpoint)), stored).same


def test_a_table_of_wishes_may_be_a_job(conditional_checkpoint, tmp_path):
    settings = ServeSettings(checkpoint=str(conditional_checkpoint), jobs_folder=str(tmp_path / "jobs"))
    rows = {"match": True, "accept": "finite", "targets": [{"atoms_C": 1}, {"atoms_C": 2}], "sampler": BODY["sampler"]}
    new, told, page = answers(
        settings, ("POST", "/v1/jobs", rows), ("GET", "/v1/jobs/{id}"), ("GET", "/v1/jobs/{id}/molecules")
    )
    assert new.status == 202, new.body
    assert (told.json()["state"], told.json()["problem"]) == ("done", None)
    assert [molecule["wish"] for molecule in page.json()["molecules"]] == [1, 2]
    assert told.json()["progress"]["ledger"]["delivered"] == 2


def test_jobs_are_listed_and_cancelled(settings):
    new, listed, ended, page, unknown, gone = answers(
        settings,
        ("POST", "/v1/jobs", BODY),
        ("GET", "/v1/jobs?limit=1"),
        ("DELETE", "/v1/jobs/{id}"),
        ("GET", "/v1/jobs?cursor=1"),
        ("GET", "/v1/jobs/none"),
        ("DELETE", "/v1/jobs/none"),
    )
    assert [job["id"] for job in listed.json()["jobs"]] == [new.json()["id"]]
    assert ended.json()["state"] == "done"  # it had ended before
    assert page.json() == {"jobs": [], "next": None}
    assert (unknown.status, unknown.json()) == (404, {"detail": "There is no job none."})
    assert gone.status == 404


def test_a_key_makes_asking_again_safe(settings):
    key = [(b"idempotency-key", b"mine")]
    first, again, other = answers(
        settings,
        ("POST", "/v1/jobs", BODY, key),
        ("POST", "/v1/jobs", BODY, key),
        ("POST", "/v1/jobs", {**BODY, "seed": 5}, key),
    )
    assert again.json()["id"] == first.json()["id"]
    assert again.status == 202
    (mistake,) = other.json()["detail"]
    assert (other.status, mistake["loc"]) == (422, ["header", "Idempotency-Key"])


@pytest.mark.parametrize(
    ("question", "place", "sentence"),
    [
        (("POST", "/v1/jobs", {"num": 10_001}), ["body", "num"], "must be between 1 and 10000, not 10001."),
        (("POST", "/v1/jobs", {"nun": 1}), ["body", "nun"], "sampler, preset, format"),
        (("POST", "/v1/jobs", {"timeout": 1}), ["body", "timeout"], "Unknown key"),
        (("POST", "/v1/jobs", []), ["body"], "must be a JSON object"),
        (("POST", "/v1/estimate", {"num": 0}), ["body", "num"], "between 1 and 10000"),
        (("GET", "/v1/jobs?limit=101"), ["query", "limit"], "must be between 1 and 100, not 101."),
        (("GET", "/v1/jobs?cursor=-1"), ["query", "cursor"], "must be `next` of an earlier answer."),
        (("GET", "/v1/jobs/x/molecules?limit=501"), ["query", "limit"], "between 1 and 500"),
        (("GET", "/v1/jobs/x/molecules?format=pdb"), ["query", "format"], "'json', 'sdf', 'xyz' or 'smiles'"),
        (("GET", f"/v1/jobs/x/molecules?cursor={'9' * 19}"), ["query", "cursor"], "must be `next`"),
    ],
)
def test_mistakes_are_refused_by_place(settings, question, place, sentence):
    (answer,) = answers(settings, question)
    assert answer.status == 422
    (mistake,) = answer.json()["detail"]
    assert mistake["loc"] == place
    assert sentence in mistake["msg"]


def test_a_full_queue_and_a_lost_database_say_when_to_try_again(settings, monkeypatch):
    full = settings.model_copy(update={"max_jobs_waiting": 1, "jobs_at_once": 0})
    first, second = answers(full, ("POST", "/v1/jobs", BODY), ("POST", "/v1/jobs", BODY))
    assert (first.status, second.status) == (202, 503)
    assert second.json() == {"detail": "Too many jobs are waiting."}

    def away(_):
        raise StoreError("postgresql://secret")

    monkeypatch.setattr(ServeSettings, "job_store", away)
    (lost,) = answers(settings, ("GET", "/v1/jobs"))
    assert (lost.status, lost.json()) == (503, {"detail": "The database of jobs does not answer."})
    assert int(lost.headers["retry-after"]) >= 1


def test_a_service_without_jobs_makes_no_folder(settings, tmp_path):
    answers(settings, ("GET", "/v1/model"))
    assert not (tmp_path / "jobs").exists()


# --- what a job would cost


def test_the_cost_of_a_job_is_measured_and_nothing_is_begun(settings):
    chosen = {**{key: BODY[key] for key in ("seed", "sizes", "sampler")}, "accept": "finite", "until": 200}
    estimate, listed = answers(settings, ("POST", "/v1/estimate", chosen), ("GET", "/v1/jobs"))
    told = estimate.json()
    assert (told["measured_on"], told["kept"]) == (32, 32)
    assert told["attempts"]["low"] == told["attempts"]["value"] == 200 <= told["attempts"]["high"]
    assert told["network_calls"] == pytest.approx(200 * 9)  # eight steps, and the decoding
    assert told["seconds"] > 0
    assert listed.json()["jobs"] == []


def test_an_errand_that_is_lost_or_late_is_told(settings):
    async def lost(*_, **__):
        return Refused(None)

    async def late(*_, **__):
        await asyncio.sleep(60)

    (answer,) = answers(settings, ("POST", "/v1/estimate", BODY), apart=lost)
    assert answer.status == 500
    hurried = settings.model_copy(update={"max_seconds": 0.1})
    (answer,) = answers(hurried, ("POST", "/v1/estimate", BODY), apart=late)
    assert answer.status == 504


# --- the document


def test_the_document_has_the_limits_and_examples_of_jobs(settings, tiny_checkpoint):
    checkpoint = load_checkpoint(tiny_checkpoint)
    desk = Desk(checkpoint, settings)
    document = tailored(api.openapi(), Border(checkpoint, settings), desk.planner.border)
    fields = document["components"]["schemas"]["JobRequest"]
    assert fields["properties"]["num"]["maximum"] == 10_000
    assert "timeout" not in fields["properties"]
    assert document["components"]["schemas"]["MoleculesRequest"]["properties"]["num"]["maximum"] == 32
    assert fields["examples"]
    for example in fields["examples"]:
        assert desk.planner.plan(JobRequest.model_validate(example)).shards()
    for answer in (JobDescription, Estimation, Predictions):
        assert document["components"]["schemas"][answer.__name__]["examples"]
        (example,) = answer.model_json_schema()["examples"]
        assert answer.model_validate(example).model_dump(mode="json") == example
    limit = document["paths"]["/v1/jobs"]["get"]["parameters"][1]
    assert (limit["name"], limit["schema"]["minimum"], limit["schema"]["maximum"]) == ("limit", 1, 100)
