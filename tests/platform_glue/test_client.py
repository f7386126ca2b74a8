"""The Python client: what it sends, how patient it is, and what it makes of answers; blocking and awaiting alike."""

import asyncio
import io
import json
import subprocess
import sys

import httpx
import pytest
from ead_client import AsyncClient, Client, ClientError, Molecules, RefusedError, ServiceError, UnreachableError
from rdkit import Chem

from ead_core import load_checkpoint, sample
from ead_core.data.sdf_writer import sdf_records
from serve.settings import ServeSettings
from tests.platform_glue.served_here import service

ADDRESS = "http://service.test"
DONE = {"ledger": {"delivered": 3}, "delivered": 3, "attempts": 4, "max_attempts": 60}


class Blocking:
    """Drives a `Client` as `Awaiting` drives the other, so that every test runs with both."""

    def __init__(self, answering, **options):
        self.client = Client(ADDRESS, transport=httpx.MockTransport(answering), **options)

    def run(self, use):
        return use(self.client)

    @staticmethod
    def all_of(job, **options):
        return list(job.molecules(**options))


class Awaiting:
    def __init__(self, answering, **options):
        self.client = AsyncClient(ADDRESS, transport=httpx.MockTransport(answering), **options)

    def run(self, use):
        return asyncio.run(self._awaited(use))

    async def _awaited(self, use):
        return await use(self.client)

    @staticmethod
    async def all_of(job, **options):
        return [molecule async for molecule in job.molecules(**options)]


@pytest.fixture(params=[Blocking, Awaiting])
def kind(request):
    return request.param


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Seconds that were waited, which pass at once."""
    passed = []

    async def later(seconds):
        passed.append(seconds)

    monkeypatch.setattr("ead_client.client.time.sleep", passed.append)
    monkeypatch.setattr("ead_client.async_client.asyncio.sleep", later)
    return passed


class Script:
    """Answers one after the other; the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def busy(seconds=None):
    headers = {"Retry-After": str(seconds)} if seconds is not None else {}
    return httpx.Response(503, json={"detail": "Too many requests are waiting."}, headers=headers)


def molecule(number, **more):
    return {
        "id": number,
        "smiles": "O",
        "elements": ["O"],
        "positions": [[0.0, 0.0, 0.0]],
        "sdf": "",
        "nfe": 9,
        "targets": {},
        "predicted": {},
        "wish": None,
        "distance": None,
        "warning": None,
        **more,
    }


def answered(*numbers, **about):
    return httpx.Response(200, json={"molecules": [molecule(number) for number in numbers], "model": "m", **about})


def job(state, **more):
    return {"id": "j1", "state": state, "progress": DONE, "request": {"until": 3}, "problem": None, **more}


def test_what_is_given_is_sent_and_no_more(kind):
    script = Script(answered(0, 1))
    found = kind(script, key="secret").run(lambda client: client.molecules(2, seed=7, targets=None, preset="fast"))
    assert [each.id for each in found] == [0, 1]
    (request,) = script.asked
    assert (request.method, str(request.url)) == ("POST", f"{ADDRESS}/v1/molecules")
    assert json.loads(request.content) == {"num": 2, "seed": 7, "preset": "fast"}
    assert request.headers["Authorization"] == "Bearer secret"


def test_a_busy_service_is_asked_again_when_it_says(kind, waits):
    script = Script(busy(7), busy(11), answered(0))
    assert len(kind(script).run(lambda client: client.molecules(1))) == 1
    assert waits == [7, 11]
    assert len({request.content for request in script.asked}) == 1


def test_pauses_grow_until_patience_ends(kind, waits):
    script = Script(httpx.ConnectError("refused"))
    with pytest.raises(UnreachableError, match=r"cannot be reached \(refused\). It was tried for"):
        kind(script, patience=100).run(lambda client: client.model())
    assert sum(waits) <= 100 < sum(waits) + 30
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits[:6]))
    assert max(waits) <= 30
    assert len(script.asked) == len(waits) + 1


def test_a_client_without_patience_asks_once(kind, waits):
    script = Script(busy(1))
    with pytest.raises(UnreachableError, match="Too many requests are waiting"):
        kind(script, patience=0).run(lambda client: client.molecules(1))
    assert (len(script.asked), waits) == (1, [])


def test_an_answer_that_takes_too_long_is_not_asked_for_again(kind):
    script = Script(httpx.ReadTimeout("late"))
    with pytest.raises(UnreachableError, match="not answered in time"):
        kind(script).run(lambda client: client.molecules(1))
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("status", "content", "kind_of_error", "sentence"),
    [
        (422, {"detail": [{"loc": ["body", "num"], "msg": "must be smaller."}]}, RefusedError, "num: must be smaller."),
        (404, {"detail": "There is no such job."}, RefusedError, "There is no such job."),
        (500, {"detail": "It failed."}, ServiceError, "It failed."),
        (504, "<html>", ServiceError, "The answer was 504 Gateway Timeout."),
        (200, "<html>", ClientError, "does not answer as a service of EAD"),
        (200, {"molecules": [{"id": 0}]}, ClientError, "molecules of another form"),
    ],
)
def test_what_is_wrong_is_one_error_with_the_service_s_sentence(kind, status, content, kind_of_error, sentence):
    script = Script(httpx.Response(status, content=content if isinstance(content, str) else json.dumps(content)))
    with pytest.raises(kind_of_error, match=sentence) as told:
        kind(script).run(lambda client: client.molecules(1))
    assert len(script.asked) == 1
    if status == 422:
        assert told.value.places == (("body", "num"),)


@pytest.mark.parametrize("address", ["", "127.0.0.1:8000", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(address):
    for client in (Client, AsyncClient):
        with pytest.raises(ClientError, match="is no address of a service; write one like"):
            client(address)


def test_a_format_is_not_asked_for(kind):
    with pytest.raises(ClientError, match="leave `format` out"):
        kind(Script(answered())).run(lambda client: client.molecules(1, format="sdf"))


def test_a_job_is_begun_once_however_often_it_is_asked_for(kind, waits):
    script = Script(busy(1), httpx.ReadError("broken"), httpx.Response(202, json=job("queued")))
    driver = kind(script)
    first = driver.run(lambda client: client.job(until=3, accept="valid"))
    keys = {request.headers["Idempotency-Key"] for request in script.asked}
    assert (first.id, first.state, len(script.asked), len(keys)) == ("j1", "queued", 3, 1)
    other = kind(Script(httpx.Response(202, json=job("queued"))))
    other.run(lambda client: client.job(until=3))
    assert other.client is not driver.client
    script = Script(httpx.Response(202, json=job("queued")))
    kind(script).run(lambda client: client.job(until=3, idempotency_key="mine"))
    assert script.asked[0].headers["Idempotency-Key"] == "mine"


class Service:
    """A job that finishes page by page; `ends` is how."""

    def __init__(self, pages, ends="done"):
        self.pages, self.ends, self.cursors = list(pages), ends, []

    def __call__(self, request):
        if request.url.path.endswith("/molecules"):
            self.cursors.append(request.url.params.get("cursor"))
            return self.pages.pop(0)
        ended = not self.pages
        return httpx.Response(200, json=job(self.ends if ended else "running", problem="It broke."))


def pages():
    return [answered(0, 1, next="2"), answered(next="2"), answered(next="2"), answered(2, next=None)]


def opened(kind, service_, use):
    """What `use` makes of the job of a service."""
    driver = kind(service_)
    if kind is Blocking:
        return driver.run(lambda client: use(client.open_job("j1")))

    async def awaited(client):
        return await use(await client.open_job("j1"))

    return driver.run(awaited)


def test_molecules_of_a_job_come_once_and_in_order_as_they_are_finished(kind, waits):
    running = Service(pages())
    found = opened(kind, running, kind.all_of)
    assert [each.id for each in found] == [0, 1, 2]
    assert running.cursors == [None, "2", "2", "2"]
    assert waits == [0.5, 0.75]


def test_without_waiting_those_that_are_finished_come(kind, waits):
    found = opened(kind, Service(pages()), lambda each: kind.all_of(each, wait=False))
    assert [each.id for each in found] == [0, 1]
    assert not waits


def test_a_failed_job_says_so_after_what_was_finished(kind):
    seen = []

    def blocking(each):
        seen.extend(each.id for each in each.molecules())

    async def awaiting(each):
        async for one in each.molecules():
            seen.append(one.id)

    with pytest.raises(ServiceError, match="It broke"):
        opened(kind, Service(pages(), "failed"), blocking if kind is Blocking else awaiting)
    assert seen == [0, 1, 2]


def test_the_result_of_a_job_is_waited_for(kind, waits):
    states = iter(["queued", "queued", "running", "done", "done", "done"])

    def answering(request):
        if request.url.path.endswith("/molecules"):
            return answered(0, 1, 2, next=None)
        return httpx.Response(200, json=job(next(states)))

    found = opened(kind, answering, lambda each: each.result(progress=True))
    assert ([each.id for each in found], found.ledger) == ([0, 1, 2], {"delivered": 3})
    assert waits == [0.5, 0.75]


def test_a_job_is_cancelled(kind):
    seen = []

    def answering(request):
        seen.append((request.method, request.url.path))
        return httpx.Response(200, json=job("cancelled" if request.method == "DELETE" else "running"))

    def blocking(each):
        each.cancel()
        return each.state

    async def awaiting(each):
        await each.cancel()
        return each.state

    assert opened(kind, answering, blocking if kind is Blocking else awaiting) == "cancelled"
    assert seen[-1] == ("DELETE", "/v1/jobs/j1")


def test_molecules_become_those_of_rdkit_and_a_table():
    made = sample(load_checkpoint("qm9-small"), 2, seed=1, steps=20, policy="synchronous")
    records = list(sdf_records(made))
    raw = [molecule(n, sdf=each.text, smiles=each.identity.smiles) for n, each in enumerate(records)]
    raw[0] |= {"targets": {"gap": 6000.0}, "predicted": {"gap": 6100.0}, "wish": 2, "distance": 0.1}
    found = Molecules.of({"molecules": raw, "model": "m", "unmet": [{"wish": 1, "reason": "none"}]})
    for index, mol in enumerate(found.rdkit()):
        assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == made.molecule(index)[0].tolist()
        assert mol.GetConformer().GetPositions() == pytest.approx(made.molecule(index)[1], abs=1e-3)
    assert len([*Chem.ForwardSDMolSupplier(io.BytesIO(found.sdf().encode()), sanitize=False)]) == 2
    table = found.frame()
    assert table["target_gap"].tolist()[0] == 6000
    assert table["wish"].tolist()[0] == 2
    assert (found[1:].frame()["id"].tolist(), len(found[:0].frame()), found.unmet[0]["wish"]) == ([1], 0, 1)


def test_it_asks_the_real_service():
    settings = ServeSettings(checkpoint="qm9-small", max_molecules=2)
    body = {"seed": 3, "sampler": {"sampler.steps": 20, "sampler.policy": "synchronous"}}

    async def run():
        async with service(settings) as app, AsyncClient(ADDRESS, transport=httpx.ASGITransport(app)) as client:
            found, model = await client.molecules(2, **body), await client.model()
            with pytest.raises(RefusedError, match="num: must be between 1 and 2, not 3"):
                await client.molecules(3)
            return found, model

    found, model = asyncio.run(run())
    made = sample(load_checkpoint("qm9-small"), 2, seed=3, steps=20, policy="synchronous")
    assert model["name"] == "qm9-small"
    for index, each in enumerate(found):
        assert each.positions == pytest.approx(made.molecule(index)[1], abs=1e-4)


def test_it_needs_neither_torch_nor_ray():
    program = (
        "import sys\n"
        "for name in ('torch', 'ray', 'ead_core', 'rdkit', 'pandas', 'numpy'): sys.modules[name] = None\n"
        "import ead_client\n"
        "ead_client.Client().close()\n"
    )
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": "platform"}, check=False).returncode == 0
