"""Deliveries: the first attempts that are accepted, an account that adds up, and the same whatever the way there."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.parquet import parquet_entries
from ead_core.data.store import npz_about, save_npz
from ead_core.errors import ConfigError
from ead_core.evaluation import reference
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance
from ead_core.notes import Note
from ead_core.sampling import delivery as delivery_module
from ead_core.sampling.delivery import deliver
from ead_core.sampling.generation import fulfil, sample
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request, sampler_config

pytestmark = pytest.mark.usefixtures("judged_here")
SIZES = (4, 5)
BAD = "its first atom is on the right"


@pytest.fixture
def model(make_checkpoint):
    return load_checkpoint(make_checkpoint({"sampler.policy": "synchronous"}))


@pytest.fixture
def request_for(model):
    def request(num=1, batch_size=64, first=0):
        settings = sampler_config(model, {"batch_size": batch_size, "steps": 4, "repair_attempts": 0})
        return Request(num, settings, 5, first, SIZES)

    return request


def right(molecules):
    """Whether the first atom of each molecule lies to the right of its centre: so does that of about half of them."""
    return molecules.positions[molecules.offsets[:-1], 0] > 0


@pytest.fixture
def halved(monkeypatch):
    """The criterion `valid` refuses half of what an untrained model makes."""

    def judged(chunk, acceptance):
        return [Verdict(BAD if bad else "", None) for bad in right(chunk.molecules)]

    monkeypatch.setattr(delivery_module, "judge", judged)


@pytest.mark.usefixtures("halved")
def test_the_first_that_are_accepted_are_delivered(model, request_for):
    everything = fulfil(model, request_for(60))
    good = np.flatnonzero(~right(everything))
    assert 10 < len(good) < 50, "the criterion must divide the attempts"
    made, ledger = deliver(model, request_for(), Order(Acceptance.parse("valid"), until=10))
    assert made.properties["id"].tolist() == good[:10].tolist()
    assert np.array_equal(made.charges, everything.select(good[:10]).charges)
    attempts = int(good[9]) + 1
    assert (ledger.asked, ledger.attempts, ledger.delivered) == (10, attempts, 10)
    assert ledger.refused == {BAD: attempts - 10}
    assert ledger.calls == everything.properties["nfe"][:attempts].sum()
    assert not ledger.short
    assert not ledger.stopped


@pytest.mark.usefixtures("halved")
def test_the_delivery_is_the_same_whatever_is_made_at_once(model, request_for):
    order = Order(Acceptance.parse("valid & finite"), until=7)
    found = [deliver(model, request_for(batch_size=size, first=100), order) for size in (1, 3, 64)]
    for made, ledger in found:
        assert made.properties["id"].tolist() == found[0][0].properties["id"].tolist()
        assert np.abs(made.positions - found[0][0].positions).max() < 1e-4
        same = ledger.model_dump(exclude={"seconds", "surplus", "surplus_calls"})
        assert same == found[0][1].model_dump(exclude={"seconds", "surplus", "surplus_calls"})


@pytest.mark.usefixtures("halved")
def test_a_number_of_attempts_delivers_what_is_accepted_of_them(model, request_for):
    everything, seen = fulfil(model, request_for(30)), []
    made, ledger = deliver(model, request_for(30), Order(Acceptance.parse("valid")), seen.append)
    assert made.properties["id"].tolist() == np.flatnonzero(~right(everything)).tolist()
    assert (ledger.asked, ledger.attempts, ledger.surplus, sum(seen)) == (None, 30, 0, 30)
    assert ledger.delivered + sum(ledger.refused.values()) == 30


@pytest.mark.usefixtures("halved")
def test_too_few_are_delivered_after_too_many_attempts(model, request_for):
    made, ledger = deliver(model, request_for(), Order(Acceptance.parse("valid"), until=40, max_attempts=50))
    assert (ledger.attempts, ledger.delivered, ledger.short) == (50, len(made), True)


def test_nothing_may_be_left(model, request_for):
    nothing, ledger = deliver(model, request_for(), Order(Acceptance.parse("stable"), until=4, max_attempts=5))
    assert (len(nothing), ledger.attempts, ledger.refused) == (0, 5, {"not stable": 5})


@pytest.fixture
def alike(model, monkeypatch):
    """Every verdict is of one of three molecules, or of none that can be told."""
    names = {0: "A", 1: "B", 2: "C", 3: None}

    def judged(chunk, acceptance):
        return [Verdict("", names[int(number) % 4]) for number in chunk.molecules.properties["id"]]

    monkeypatch.setattr(delivery_module, "judge", judged)


@pytest.mark.usefixtures("alike")
def test_unique_delivers_each_molecule_once(model, request_for):
    made, ledger = deliver(model, request_for(20), Order(Acceptance.parse("unique")))
    assert made.properties["id"].tolist() == [0, 1, 2]
    assert ledger.refused == {"not unique": 17}


@pytest.mark.usefixtures("alike")
def test_novel_refuses_what_is_known(model, request_for, monkeypatch):
    monkeypatch.setattr(reference, "known_inchikeys", lambda path, threads: frozenset({"B"}))
    made, ledger = deliver(model, request_for(8), Order(Acceptance.parse("novel=known.npz & unique")))
    assert made.properties["id"].tolist() == [0, 2]
    assert Counter(ledger.refused) == {"known": 4, "not unique": 2}


@pytest.mark.usefixtures("halved")
def test_an_interruption_delivers_what_there_is(model, request_for):
    def interrupt(done):
        if done:
            raise KeyboardInterrupt

    made, ledger = deliver(model, request_for(batch_size=8), Order(Acceptance.parse("valid"), until=1000), interrupt)
    assert ledger.stopped
    assert ledger.short
    assert 0 < len(made) == ledger.delivered < 1000
    assert ledger.delivered + sum(ledger.refused.values()) == ledger.attempts


@pytest.mark.usefixtures("halved")
def test_sample_delivers_and_says_what_it_cost(model):
    with pytest.warns(Note, match=r"attempts: 3 delivered; refused: .* its first atom"):
        made = sample(model, accept="valid", until=3, seed=5, sizes=SIZES, steps=4, repair_attempts=0)
    assert len(made) == 3
    for arguments, sentence in (
        ({}, "give either num, the attempts, or until"),
        ({"num": 2, "until": 2, "accept": "valid"}, "give either num"),
        ({"until": 2}, "need accept"),
        ({"num": 2, "max_attempts": 2}, "need accept"),
        ({"num": 2, "max_attempts": 2, "accept": "valid"}, "max_attempts needs until"),
        ({"until": 0, "accept": "valid"}, "until must be at least 1, not 0"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            sample(model, **arguments)


def test_every_format_tells_the_ledger(molecules, tmp_path):
    ledger = Ledger(
        accept="valid", asked=24, attempts=30, delivered=24, refused={"not valid": 6}, calls=90, surplus=2,
        surplus_calls=6, seconds=1.5, stopped=False,
    )  # fmt: skip
    text = json.dumps(ledger.to_json())
    for ending in (".npz", ".parquet", ".sdf", ".xyz"):
        path = tmp_path / f"molecules{ending}"
        write_molecules(molecules, path, {"ledger": text})
        again = read_molecules(path).molecules
        assert len(again) == len(molecules)
        if ending == ".npz":
            told = npz_about(path)["ledger"]
        elif ending == ".parquet":
            told = parquet_entries(path)["ledger"]
        else:
            told = str(again.properties["ledger"][0])
        assert Ledger.parse(json.loads(told), ending) == ledger
    save_npz(molecules, tmp_path / "plain.npz")
    assert npz_about(tmp_path / "plain.npz") == {}


@pytest.mark.usefixtures("halved")
def test_what_is_refused_is_repaired_first(model, request_for):
    """Half of the attempts are refused, half of these after one repair, and so on; their calls are counted."""
    plain = request_for(40)
    mending = replace(plain, sampler=plain.sampler.model_copy(update={"repair_attempts": 3, "repair_level": 1.0}))
    order = Order(Acceptance.parse("valid"))
    (few, before), (many, after) = (deliver(model, request, order) for request in (plain, mending))
    assert before.delivered < 30 < after.delivered
    kept = many.select(np.isin(many.properties["id"], few.properties["id"]))
    assert np.array_equal(kept.positions, few.positions)
    mended = many.properties["repaired"] > 0
    assert mended.sum() == after.repaired == after.delivered - before.delivered
    assert before.repaired == 0
    assert after.calls > before.calls
    assert after.delivered + sum(after.refused.values()) == 40
