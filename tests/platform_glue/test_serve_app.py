"""The service as an ASGI application with its model in the same process: what rough clients get."""

import asyncio
import gc
import json
import threading
import time

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import CRITERIA, NOVEL, Acceptance
from ead_core.evaluation.jury import Jury
from ead_core.sampling.delivery import deliver
from ead_core.sampling.order import Order
from ead_core.sampling.passport_files import stored_molecule
from ead_core.sampling.reproduction import model_of, reproduce
from ead_core.sampling.requests import Request, sampler_config
from serve.app import ALL_DIVERGED
from serve.model import Sampling
from serve.reception import LARGEST_BODY, TOO_LARGE, TOO_SLOW, Reception
from serve.settings import ServeSettings

from .served_here import ask, served, service

CPU_SECONDS, ANSWER_BYTES = 0.05, 10_000


@pytest.fixture
def settings(tiny_checkpoint):
    return ServeSettings(checkpoint=str(tiny_checkpoint), max_molecules=8, max_network_calls=400)


@pytest.fixture
def conditional(conditional_checkpoint):
    return ServeSettings(checkpoint=str(conditional_checkpoint), max_molecules=8, max_network_calls=400)


# --- answers


def test_molecules_are_answered(settings):
    answer, text = served(settings, {"num": 2, "sizes": [4]}, {"num": 2, "sizes": [4], "format": "smiles"})
    assert (answer.status, text.status) == (200, 200)
    assert [molecule["id"] for molecule in answer.json()["molecules"]] == [0, 1]
    assert answer.json()["diverged"] == []
    assert answer.headers["x-diverged"] == "0"
    assert len(text.body.splitlines()) == 2


@pytest.mark.parametrize("error", [RayActorError(), DeploymentUnavailableError(None)])
def test_a_lost_model_is_told_as_unavailable(settings, error):
    class Lost(Sampling):
        async def generate(self, request):
            raise error

    (answer,) = served(settings, {"num": 1}, sampling=Lost)
    assert (answer.status, answer.json()) == (503, {"detail": "The model is not available."})
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("kind", ["json", "sdf", "xyz"])
def test_a_molecule_of_an_answer_is_made_again_from_it(conditional, kind, tmp_path):
    path = tmp_path / f"answer.{kind}"
    (answer,) = served(conditional, {"num": 3, "seed": 4, "targets": {"gap": [5000, 7000]}, "format": kind})
    assert "x-passport" not in answer.headers
    path.write_bytes(answer.body)
    stored = stored_molecule(path, 2)
    assert (stored.passport.seed, stored.passport.device) == (4, "cpu")
    assert reproduce(model_of(stored.passport, conditional.checkpoint), stored).same


# --- molecules that are accepted

PAIRED = {
    "accept": "finite & even_electrons",
    "sizes": [4, 5],
    "seed": 3,
    "sampler": {"sampler.repair_attempts": 0},
}


@pytest.mark.parametrize("repairs", [0, 2])
def test_deliveries_are_those_of_the_engine_alone_with_their_ledger(settings, tiny_checkpoint, repairs, request):
    if not repairs:
        request.getfixturevalue("judged_here")
    checkpoint = load_checkpoint(tiny_checkpoint)
    wanted = Request(1, sampler_config(checkpoint, {"repair_attempts": repairs}), 3, sizes=(4, 5))
    alone, ledger = deliver(checkpoint, wanted, Order(Acceptance.parse(PAIRED["accept"]), until=5))
    (answer,) = served(settings, {**PAIRED, "until": 5, "sampler": {"sampler.repair_attempts": repairs}})
    assert answer.status == 200, answer.body
    made, account = answer.json()["molecules"], answer.json()["ledger"]
    assert [molecule["id"] for molecule in made] == alone.properties["id"].tolist()
    for index, molecule in enumerate(made):
        assert np.allclose(molecule["positions"], alone.molecule(index)[1], atol=1e-4)
    kept = ("accept", "asked", "attempts", "delivered", "repaired", "refused", "calls", "stopped")
    assert {key: account[key] for key in kept} == {key: ledger.to_json()[key] for key in kept}
    assert account["attempts"] == account["delivered"] + sum(account["refused"].values())
    assert account["repaired" if repairs else "refused"]


@pytest.mark.usefixtures("judged_here")
def test_the_ledger_is_part_of_every_format(settings):
    json_answer, *texts = served(
        settings, *({**PAIRED, "num": 6, "format": kind} for kind in ("json", "sdf", "xyz", "smiles"))
    )
    ledger = json_answer.json()["ledger"]
    assert (ledger["attempts"], ledger["asked"]) == (6, None)
    for answer in texts:
        own = json.loads(answer.headers["x-ledger"])
        assert {"met": None, **own, "seconds": 0} == {**ledger, "seconds": 0}
    sdf, xyz, smiles = (answer.body.decode() for answer in texts)
    assert sdf.count(">  <ledger>") == xyz.count("odd number of electrons") == 1
    assert sdf.index(">  <ledger>") < sdf.index("$$$$")
    assert len(smiles.splitlines()) == ledger["delivered"]


@pytest.mark.usefixtures("judged_here")
def test_with_a_range_until_needs_no_criteria_and_the_ledger_tells_how_many_are_in_it(conditional):
    body = {"accept": "finite & in_range", "num": 8, "sizes": [4], "targets": {"atoms_C": [1, 2]}}
    answer, bare, none = served(
        conditional,
        {**body, "sampler": {"sampler.repair_attempts": 0}},
        {"until": 1, "max_attempts": 2, "sizes": [4], "targets": {"atoms_C": [1, 2]}},
        {**body, "targets": {"gap": 5000}},
    )
    assert answer.status == 200, answer.body
    ledger, made = answer.json()["ledger"], answer.json()["molecules"]
    assert all(1 <= molecule["elements"].count("C") <= 2 for molecule in made)
    assert ledger["in_range"]["predicted"] == ledger["in_range"]["in_truth"] == len(made) == ledger["delivered"]
    assert ledger["in_range"]["valid"] == 8 == len(made) + ledger["refused"].get("outside of the ranges asked for", 0)
    assert bare.json()["ledger"]["accept"] == "valid & in_range & unique"
    assert none.status == 422
    assert "in_range needs a range among the targets" in none.json()["detail"][0]["msg"]


def test_without_criteria_there_is_no_ledger(settings):
    (answer,) = served(settings, {"num": 1, "sizes": [4]})
    assert answer.json()["ledger"] is None
    assert "x-ledger" not in answer.headers


@pytest.mark.usefixtures("judged_here")
@pytest.mark.parametrize("kind", ["json", "sdf", "xyz", "smiles"])
def test_too_little_is_no_failure_and_the_ledger_says_so(settings, kind):
    body = {"accept": "strain<1e-9", "until": 2, "max_attempts": 5, "sizes": [4], "format": kind}
    (answer,) = served(settings, body)
    assert answer.status == 200
    ledger = json.loads(answer.headers["x-ledger"])
    assert (ledger["asked"], ledger["attempts"], ledger["delivered"]) == (2, 5, 0)
    assert ledger["refused"] == {"too strained": 5}
    assert answer.json()["molecules"] == [] if kind == "json" else answer.body == b""


@pytest.mark.parametrize(
    ("body", "key", "sentence"),
    [
        ({"accept": "valid & purple"}, "accept", "'purple' is no criterion of acceptance; there are finite,"),
        ({"accept": ["valid", "strain"]}, "accept", "the criterion 'strain' must be written as strain<KCAL."),
        ({"accept": []}, "accept", "there is no criterion of acceptance; there are finite,"),
        ({"accept": {"valid": True}}, "accept", "must be criteria as text, such as 'valid & unique', or a list"),
        ({"accept": "novel=/etc/passwd"}, "accept", "novel is not offered over HTTP, since it reads a file of the"),
        ({"until": 2}, "until", "needs accept, which says what a delivered molecule must be."),
        ({"accept": "valid", "max_attempts": 2}, "max_attempts", "needs until; without it, num is the number"),
        ({"accept": "valid", "until": 2, "num": 2}, "num", "must be left out where until is given."),
        ({"accept": "valid", "until": 9}, "until", "must be between 1 and 8, not 9."),
        ({"accept": "valid", "until": 0}, "until", "greater than or equal to 1"),
        ({"accept": "valid", "until": 8, "max_attempts": 10**6}, "max_attempts", "ask for at most "),
    ],
)
def test_an_order_that_cannot_be_met_is_refused_at_its_place(settings, body, key, sentence):
    (answer,) = served(settings, {"sizes": [6], **body})
    assert answer.status == 422
    (mistake,) = answer.json()["detail"]
    assert mistake["loc"] == ["body", key]
    assert sentence in mistake["msg"]


@pytest.mark.usefixtures("judged_here")
def test_attempts_are_no_more_than_a_request_may_cost(settings):
    limited = settings.model_copy(update={"max_request_calls": 1000})
    (answer,) = served(limited, {"accept": "strain<1e-9", "until": 1, "sizes": [6]})
    assert answer.status == 200
    ledger = answer.json()["ledger"]
    assert 1 < ledger["attempts"] < 1000
    assert ledger["calls"] <= 1000


def test_others_are_served_while_molecules_are_judged(settings, monkeypatch):
    judging, go_on = threading.Event(), threading.Event()

    def slow(jury, molecules, acceptance):
        judging.set()
        assert go_on.wait(30)
        return [Verdict("", None)] * len(molecules)

    monkeypatch.setattr(Jury, "verdicts", slow)

    async def run():
        async with service(settings) as app:
            judged = asyncio.create_task(ask(app, "/v1/molecules", json.dumps({**PAIRED, "num": 2}).encode()))
            assert await asyncio.to_thread(judging.wait, 30)
            other = await ask(app, "/v1/molecules", b'{"num": 1, "sizes": [4]}')
            waiting = not judged.done()
            go_on.set()
            return other, waiting, await judged

    other, waiting, judged = asyncio.run(run())
    assert (other.status, waiting, judged.status) == (200, True, 200)


# --- the document


def documented(settings):
    async def run():
        async with service(settings) as app:
            return await ask(app, "/openapi.json", method="GET"), await ask(app, "/docs", method="GET")

    document, page = asyncio.run(run())
    assert b"/openapi.json" in page.body
    return document.json()["components"]["schemas"]


def test_the_document_has_the_limits_of_this_model(settings, conditional):
    request, sampler = (documented(settings)[name]["properties"] for name in ("MoleculesRequest", "SamplerSettings"))
    assert (request["num"]["minimum"], request["num"]["maximum"]) == (1, 8)
    assert request["sizes"]["anyOf"][0]["items"] == {"type": "integer", "minimum": 4, "maximum": 6}
    assert request["sizes"]["anyOf"][0]["maxItems"] == 8
    assert request["until"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 8}
    criteria = request["accept"]["description"]
    assert all(f"`{name}{each.takes}`: {each.meaning}" in criteria for name, each in CRITERIA.items() if name != NOVEL)
    assert NOVEL not in criteria
    assert request["timeout"]["anyOf"][0]["maximum"] == 600
    formula = request["targets"]["anyOf"][0]
    assert set(formula["properties"]) == set(formula["required"]) == {"atoms_H", "atoms_C", "atoms_O"}
    assert "sampler.guidance" not in sampler
    assert sampler["sampler.steps"]["anyOf"][0]["maximum"] == 40
    assert sampler["sampler.interval"]["anyOf"][0]["maximum"] == 16
    targets = documented(conditional)["MoleculesRequest"]["properties"]["targets"]["anyOf"][0]
    assert set(targets["properties"]) == {"gap", "atoms_C"}
    assert targets["properties"]["atoms_C"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 6}


@pytest.mark.parametrize(
    "body",
    [
        {"num": 2.0, "seed": 3.0, "sizes": [4.0, 6.0]},
        {"sizes": None, "size_range": None, "targets": None, "timeout": None},
        {"size_range": {"smallest": -7, "largest": 10**20}},
        {"seed": 2**53 - 1, "timeout": 600, "format": "xyz"},
        {"sampler": {"sampler.steps": 20.0, "sampler.policy": "random", "sampler.advance_rate": [0.5, 1]}},
        {"sampler": {"sampler.interval": None, "sampler.steps": None, "sampler.async_ratio": 0}},
        {"accept": "finite, even_electrons"},
        {"accept": None, "until": None, "max_attempts": None},
    ],
)
def test_what_the_document_allows_is_accepted(settings, body):
    """Cases that schemathesis found, or that have the same cause."""
    (answer,) = served(settings, {"num": 1, **body})
    assert answer.status == 200, answer.body


# --- one body cannot block everybody


def nested(depth, inner="1"):
    return ("[" * depth + inner + "]" * depth).encode()


def keys(count, value="1", name="k{}"):
    return ", ".join(f'"{name.format(number)}": {value}' for number in range(count))


ROUGH = {
    "sizes of text": b'{"sizes": [' + b", ".join([b'"x"'] * 16_000) + b"]}",
    "sizes of objects": b'{"sizes": [' + b",".join([b"{}"] * 30_000) + b"]}",
    "wrong sizes": b'{"sizes": [' + b",".join([b'"x"'] * 1000) + b"]}",
    "unknown keys": f"{{{keys(7000)}}}".encode(),
    "unknown sampler keys": f'{{"sampler": {{{keys(7000)}}}}}'.encode(),
    "nearly known sampler keys": f'{{"sampler": {{{keys(3500, name="sampler.steps{}")}}}}}'.encode(),
    "unknown targets": f'{{"targets": {{{keys(7000)}}}}}'.encode(),
    "fifty wrong targets": f'{{"targets": {{{keys(50, value="[]")}}}}}'.encode(),
    "unknown keys of a range": f'{{"size_range": {{{keys(7000)}}}}}'.encode(),
    "rates of text": b'{"sampler": {"sampler.advance_rate": [' + b",".join([b'"x"'] * 16_000) + b"]}}",
    "wrong rates": b'{"sampler": {"sampler.advance_rate": [' + b",".join([b"2"] * 1000) + b"]}}",
    "levels of text": b'{"sampler": {"sampler.guidance_levels": [' + b",".join([b'"x"'] * 16_000) + b"]}}",
    "a long key": b'{"' + b"x" * 80_000 + b'": 1}',
    "a long key of astral letters": b'{"sampler": {"' + b"\\ud83d\\ude00" * 7000 + b'": 1}}',
    "twenty long keys": f"{{{keys(20, name='k{}' + '😀' * 900)}}}".encode(),
    "a long target": b'{"targets": {"' + b"x" * 80_000 + b'": 1}}',
    "a long target of quotes": b'{"targets": {"' + b'\\"' * 40 + b'": 1}}',
    "a long format": b'{"format": "' + b"x" * 80_000 + b'"}',
    "a long policy": b'{"sampler": {"sampler.policy": "' + b"\xc3\xa9" * 40_000 + b'"}}',
    "a number of digits": b'{"num": ' + b"9" * 4000 + b"}",
    "a size of digits": b'{"sizes": [' + b"9" * 4000 + b"]}",
    "depth 100": b'{"sizes": ' + nested(100) + b"}",
    "depth 900": b'{"targets": {"gap": ' + nested(900) + b"}}",
    "depth 40,000": nested(40_000),
    "depth of objects": b'{"sampler": ' * 7000 + b"1" + b"}" * 7000,
    "a deep rate": b'{"sampler": {"sampler.advance_rate": ' + nested(700) + b"}}",
    "a wide value": b'{"seed": {' + keys(7000).encode() + b"}}",
    "one list": b"[" + b",".join([b"1"] * 40_000) + b"]",
    "commas": b"," * 90_000,
    "brackets": b"{" * 90_000,
    "half a pair": b'{"\\ud800": 1, "sampler": {"\\udfff": 1}}',
    "not a number": b'{"timeout": NaN, "seed": Infinity}',
    "no timeout": b'{"timeout": 0}',
    "a long timeout": b'{"timeout": 1e308}',
    "a timeout beyond numbers": b'{"timeout": 1e999}',
    "rows that are none": b'{"match": true, "targets": [' + b",".join([b"[]"] * 30_000) + b"]}",
    "rows of wrong targets": b'{"match": true, "targets": [' + b",".join([b'{"a": [], "b": []}'] * 1000) + b"]}",
    "rows of too many targets": b'{"match": true, "targets": [' + b",".join([b'{"a":1,"b":1,"c":1}'] * 1000) + b"]}",
    "rows of many names": b'{"match": true, "targets": ['
    + b",".join(b"{%s}" % keys(50, name=f"k{row}-{{}}").encode() for row in range(8))
    + b"]}",
    "rows of any size": b'{"match": true, "targets": [' + b",".join([b'{"num_atoms": 1e11}'] * 8) + b"]}",
    "criteria of text": b'{"accept": "' + b"valid & " * 10_000 + b'"}',
    "criteria that are none": b'{"accept": [' + b",".join([b'"' + b"x" * 90 + b'"'] * 800) + b"]}",
    "a long criterion": b'{"accept": "' + b"x" * 4900 + b'"}',
    "criteria of numbers": b'{"accept": [' + b",".join([b"1"] * 40_000) + b"]}",
    "a strain of digits": b'{"accept": "strain<' + b"9" * 4000 + b'"}',
    "until of digits": b'{"accept": "valid", "until": ' + b"9" * 4000 + b"}",
    "more than a request may cost": b'{"num": 8, "sizes": [6], "sampler": {"sampler.max_pauses": 40}}',
}


@pytest.mark.parametrize("kind", ["settings", "conditional"])
def test_any_refusal_is_quick_and_short(request, kind):
    settings = request.getfixturevalue(kind).model_copy(update={"max_request_calls": 2000})

    async def run():
        async with service(settings) as app:
            await ask(app, "/v1/molecules", b'{"num": 0}')
            for name, body in ROUGH.items():
                start = time.process_time()
                answer = await ask(app, "/v1/molecules", body)
                spent = time.process_time() - start
                assert answer.status == 422, name
                assert spent < CPU_SECONDS, (name, spent)
                assert len(answer.body) < ANSWER_BYTES, (name, len(answer.body))
                detail = answer.json()["detail"]
                assert 1 <= len(detail) <= 20, name
                assert all(set(mistake) == {"type", "loc", "msg"} for mistake in detail), name
                assert {mistake["loc"][0] for mistake in detail} == {"body"}, name

    gc.collect()
    gc.freeze()  # what all tests of this process have left behind is not the service's to look through
    asyncio.run(run())


def test_the_first_twenty_mistakes_are_reported_and_known_keys_once(settings):
    (answer,) = served(settings, {"sampler": {f"k{number}": 1 for number in range(30)}})
    detail = answer.json()["detail"]
    assert [mistake["loc"][-1] for mistake in detail] == [f"k{number}" for number in range(20)]
    assert "known are sampler.policy" in detail[0]["msg"]
    assert {mistake["msg"] for mistake in detail[1:]} == {"Unknown key"}


def test_a_body_that_is_too_large_is_refused_before_it_is_read(settings):
    large, exact = b" " * (LARGEST_BODY + 1), b'{"num": 0}'.ljust(LARGEST_BODY)
    assert [answer.status for answer in served(settings, large, exact)] == [413, 422]

    async def stream():
        async with service(settings) as app:
            return await ask(app, "/v1/molecules", parts=[b" " * 60_000, b" " * 60_000, b" " * 60_000])

    assert asyncio.run(stream()).json() == {"detail": TOO_LARGE.format(LARGEST_BODY)}


# --- nobody waits for those who do not finish


async def never():
    await asyncio.Event().wait()


def test_a_body_that_does_not_arrive_in_time_is_given_up():
    async def run():
        app = Reception(None, seconds=0.05)
        return await asyncio.gather(*(ask(app, "/", parts=[b"{", never()]) for _ in range(20)))

    for answer in asyncio.run(run()):
        assert (answer.status, answer.json()) == (408, {"detail": TOO_SLOW})
        assert answer.headers["connection"] == "close"


def test_two_thousand_unfinished_bodies_of_one_client_keep_nobody_waiting(settings):
    async def run():
        async with service(settings) as app:
            rough = [asyncio.create_task(ask(app, "/v1/molecules", parts=[b"{", never()])) for _ in range(2000)]
            await asyncio.sleep(0)
            start = time.monotonic()
            alive = await ask(app, "/v1/health/live", method="GET")
            refused = await ask(app, "/v1/molecules", b'{"num": 0}')
            other = await ask(app, "/v1/molecules", b'{"num": 1, "sizes": [4]}', client="192.0.2.2")
            waited = time.monotonic() - start
            given_up = sum(task.done() for task in rough)
            for task in rough:
                task.cancel()
            return alive, refused, other, given_up, waited

    alive, refused, other, given_up, waited = asyncio.run(run())
    assert (alive.status, refused.status, other.status) == (200, 422, 200)
    assert given_up >= 2000 - 256
    assert waited < 5


# --- nobody waits behind a giant


def test_a_small_request_is_answered_while_giants_go_on(settings, monkeypatch):
    monkeypatch.setattr("ead_core.sampling.engine.TURN", 64)
    settings = settings.model_copy(update={"batch_molecules": 4, "max_network_calls": 5000})
    slow = {
        "sampler.policy": "random",
        "sampler.advance_rate": 0.01,
        "sampler.max_pauses": 99,
        "sampler.async_ratio": 1,
    }

    async def run():
        async with service(settings) as app:
            giant = json.dumps({"num": 4, "sizes": [6], "sampler": slow}).encode()
            giants = [asyncio.create_task(ask(app, "/v1/molecules", giant)) for _ in range(3)]
            await asyncio.sleep(0.2)
            small = await ask(app, "/v1/molecules", b'{"num": 1, "sizes": [4]}')
            finished = [task.done() for task in giants]
            for task in giants:
                task.cancel()
            await asyncio.gather(*giants, return_exceptions=True)
            return small, finished

    small, finished = asyncio.run(run())
    assert small.status == 200
    assert finished == [False] * 3


def test_the_cost_of_a_request_is_bounded_and_the_refusal_says_what_fits(settings):
    limited = settings.model_copy(update={"max_request_calls": 500})
    (refused,) = served(limited, {"num": 8, "sizes": [6]})
    (mistake,) = refused.json()["detail"]
    assert mistake["loc"] == ["body", "num"]
    most = int(mistake["msg"].split("ask for at most ")[1].split()[0])
    fits, still_refused = served(limited, {"num": most, "sizes": [6]}, {"num": most + 1, "sizes": [6]})
    assert (fits.status, still_refused.status) == (200, 422)


class Still(Sampling):
    """A model that stands still."""

    gone = threading.Event()

    def step(self):
        time.sleep(0.02)
        return {}

    async def generate(self, request):
        try:
            return await super().generate(request)
        finally:
            Still.gone.set()
            self._engine = self._idle_engine()


def test_a_request_that_is_not_finished_in_time_is_given_up(settings):
    start = time.monotonic()
    (answer,) = served(settings, {"num": 1, "timeout": 1}, sampling=Still)
    assert answer.status == 504
    assert "not finished after 1 s;" in answer.json()["detail"]
    assert Still.gone.is_set()
    assert time.monotonic() - start < 10
    (refused,) = served(settings, {"num": 1, "timeout": 601})
    assert refused.json()["detail"][0]["loc"] == ["body", "timeout"]


# --- molecules that are none


class Diverging(Sampling):
    """A model that loses molecules of odd id."""

    lost = staticmethod(lambda ids: ids % 2 == 1)

    def step(self):
        done = super().step()
        for molecules in done.values():
            molecules.positions[np.repeat(self.lost(molecules.properties["id"]), molecules.num_atoms)] = np.nan
        return done


class Lost(Diverging):
    lost = staticmethod(lambda ids: ids >= 0)


@pytest.mark.parametrize("kind", ["json", "sdf", "xyz", "smiles"])
def test_diverged_molecules_are_counted_and_left_out(settings, kind):
    (answer,) = served(settings, {"num": 3, "sizes": [4], "format": kind}, sampling=Diverging)
    assert answer.status == 200
    assert answer.headers["x-diverged"] == "1"
    assert b"nan" not in answer.body.lower()
    if kind == "json":
        assert [molecule["id"] for molecule in answer.json()["molecules"]] == [0, 2]
        assert answer.json()["diverged"] == [1]


def test_an_answer_without_any_molecule_is_a_failure(settings):
    (answer,) = served(settings, {"num": 2}, sampling=Lost)
    assert (answer.status, answer.json()) == (500, {"detail": ALL_DIVERGED})
