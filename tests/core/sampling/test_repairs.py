"""Refused attempts of a delivery are repaired before they are given up, and the account adds up."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.policy import Synchronous
from ead_core.evaluation.acceptance import FAILED, Verdict
from ead_core.sampling.account import REPAIRED
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.generation import fulfil
from ead_core.sampling.repairs import Repair, Repairs, settle
from ead_core.sampling.requests import Request, sampler_config

BAD = "its first atom is on the right"


@pytest.fixture
def model(make_checkpoint):
    return load_checkpoint(make_checkpoint({"sampler.policy": "synchronous", "training.fragments": 0.2}))


@pytest.fixture
def request_for(model):
    def request(num=12, **settings):
        return Request(num, sampler_config(model, {"steps": 4, "repair_level": 0.5, **settings}), 5, 30, (4, 5, 6))

    return request


def judge(molecules, refusal=BAD):
    return [Verdict(refusal if x > 0 else "", None) for x in molecules.positions[molecules.offsets[:-1], 0]]


def of(molecules, name):
    return np.asarray(molecules.properties[name])


def test_who_is_accepted_stays_and_the_others_are_repaired_until_they_are(model, request_for):
    request = request_for(24, repair_attempts=3, repair_level=1.0)
    made = fulfil(model, request)
    refused = np.array([bool(verdict.refusal) for verdict in judge(made)])
    assert 5 < refused.sum() < 20, "the criterion must divide the attempts"
    settled, standing = settle(model, request, made, judge)
    assert of(settled, "id").tolist() == of(made, "id").tolist()
    assert standing == judge(settled)
    rounds, calls = of(settled, REPAIRED), of(settled, "nfe")
    assert (rounds[~refused] == 0).all()
    assert (rounds[refused] > 0).all()
    assert len(set(rounds[refused].tolist())) > 1
    for row in np.flatnonzero(~refused):
        assert np.array_equal(settled.molecule(row)[1], made.molecule(row)[1])
    each = (calls - of(made, "nfe"))[refused] / rounds[refused]  # every round goes through the same levels
    assert len(set(each.tolist())) == 1
    still = np.array([bool(verdict.refusal) for verdict in standing])
    assert (rounds[still] == 3).all()
    assert still.sum() < refused.sum()


@pytest.mark.parametrize("extent", ["whole", "local"])
def test_a_repair_does_not_depend_on_who_is_repaired_beside_it(model, request_for, extent):
    request = request_for(repair_attempts=1, repair_extent=extent)
    made = fulfil(model, request)
    together, _ = settle(model, request, made, judge)
    for row in range(len(made)):
        alone, _ = settle(model, request, made.select([row]), judge)
        assert np.abs(alone.positions - together.molecule(row)[1]).max() < 1e-4


def test_every_round_begins_with_the_molecule_as_it_was_refused(model, request_for):
    request = request_for(repair_attempts=2)
    made = fulfil(model, request).select([0])
    repairs = Repairs(model, request)
    never = [Verdict(BAD, None)]
    _, _, (first,) = repairs.sort(made, never)
    moved = MoleculeSet(made.num_atoms, made.charges, made.positions + 1, {**made.properties, REPAIRED: np.array([1])})
    settled, standing, (second,) = repairs.sort(moved, never)
    assert (len(settled), standing) == (0, [])
    assert (first.attempt, second.attempt) == (1, 2)
    assert np.array_equal(second.refused.positions, made.positions)
    last = MoleculeSet(made.num_atoms, made.charges, made.positions, {**made.properties, REPAIRED: np.array([2])})
    settled, standing, pieces = repairs.sort(last, never)
    assert (of(settled, REPAIRED).tolist(), standing, pieces) == ([2], never, [])


def test_some_are_not_repaired(model, request_for):
    """What was not measured, what the model cannot take in, and all where nobody wants it or a fragment must stay."""
    made = fulfil(model, request_for())
    failed = functools.partial(judge, refusal=FAILED)
    assert not of(settle(model, request_for(), made, failed)[0], REPAIRED).any()
    never = Request(12, sampler_config(model, {"steps": 4, "repair_attempts": 0}), 5, 30, (4, 5, 6))
    assert settle(model, never, made, judge)[0].properties.keys() == made.properties.keys()
    fragment = Fragment(np.array([6, 8]), np.array([[0.0, 0, 0], [1.4, 0, 0]]))
    for bound in ({"fragment": fragment}, {"policy": Synchronous()}):
        assert settle(model, replace(request_for(), **bound), made, judge)[1] == judge(made)
    foreign = MoleculeSet(made.num_atoms, np.full_like(made.charges, 7), made.positions, made.properties)
    assert not of(settle(model, request_for(), foreign, judge)[0], REPAIRED).any()


def test_a_piece_is_as_long_as_its_molecules(model, request_for):
    made = fulfil(model, request_for())
    assert len(Repair(request_for(), made, 1)) == 12
