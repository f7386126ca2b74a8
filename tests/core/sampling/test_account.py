"""The account of a delivery, whoever makes its attempts: what is begun, settled and delivered."""

import itertools

import numpy as np
import pytest

from ead_core.config import SamplerConfig
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.novelty import Novelty
from ead_core.sampling.account import Account
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request

REQUEST = Request(1, SamplerConfig(), seed=3)


def account(until, most=100, accept="valid & unique", first=0):
    order = Order(Acceptance.parse(accept), until)
    return Account(order, first, most, Novelty(order.accept))


def made(ids):
    """Hydrogen atoms of ten calls each."""
    properties = {"id": np.array(ids), "nfe": np.full(len(ids), 10)}
    return MoleculeSet(np.ones(len(ids), int), np.ones(len(ids), int), np.zeros((len(ids), 3)), properties)


def verdicts(ids):
    """Every third is refused, and the others are of five kinds."""
    return [Verdict("not valid" if number % 3 == 0 else "", f"KIND-{number % 5}") for number in ids]


@pytest.mark.parametrize("order", itertools.permutations([(0, 1, 2), (3, 4), (5, 6, 7, 8)]))
def test_what_is_delivered_does_not_depend_on_what_is_finished_first(order):
    kept = account(until=4)
    kept.begin(REQUEST, 9)
    for ids in order:
        kept.add(made(ids), verdicts(ids))
    molecules, ledger = kept.delivery(1.0)
    assert kept.done
    assert molecules.properties["id"].tolist() == [1, 2, 4, 5]
    assert (ledger.attempts, ledger.delivered, ledger.refused) == (6, 4, {"not valid": 2})
    assert (ledger.calls, ledger.calls + ledger.surplus_calls) == (60, 10 * (6 + ledger.surplus))


def test_attempts_are_begun_once_each_and_no_more_than_there_may_be():
    kept, begun = account(until=50, most=30, first=7), []
    while part := kept.begin(REQUEST, 8):
        ids = list(range(part.first, part.first + part.num))
        begun += ids
        kept.add(made(ids), verdicts(ids))
    assert begun == list(range(7, 37))
    _, ledger = kept.delivery(1.0)
    assert ledger.attempts == 30 == ledger.delivered + sum(ledger.refused.values())
    assert ledger.delivered == 5  # kinds


def test_nothing_is_begun_while_enough_is_under_way_or_once_there_is_enough():
    kept = account(until=2)
    part = kept.begin(REQUEST, 2)
    assert kept.begin(REQUEST, 2) is None
    ids = range(part.num)
    kept.add(made(ids), verdicts(ids))
    assert kept.done
    assert kept.begin(REQUEST, 2) is None


def test_a_molecule_whose_bonds_cannot_be_perceived_is_not_unique():
    novelty = Novelty(Acceptance.parse("unique"))
    assert [novelty.refusal(key) for key in ("A", None, "B", "A")] == ["", "not unique", "", "not unique"]
    assert not Novelty(Acceptance.parse("valid")).compares
    assert Novelty(Acceptance.parse("valid")).refusal(None) == ""


def test_calls_are_told_per_molecule_only_if_there_is_one():
    for ids, told in (((0,), "; 10 network calls"), ((1, 2), "; 10 network calls per delivered molecule")):
        kept = account(until=None, most=len(ids), first=ids[0])
        kept.begin(Request(len(ids), SamplerConfig(), seed=3, first=ids[0]), 8)
        kept.add(made(list(ids)), verdicts(ids))
        assert kept.delivery(1.0)[1].sentence.endswith(told)
