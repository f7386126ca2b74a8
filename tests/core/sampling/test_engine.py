"""Molecules of any requests share network calls at any stage, and each is the one it would be alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.tensors import size_mask
from ead_core.errors import ConfigError
from ead_core.sampling.build import build_process
from ead_core.sampling.engine import Engine
from ead_core.sampling.generation import complete, fulfil
from ead_core.sampling.requests import Request, sampler_config
from ead_core.sampling.sampler import trajectory
from ead_core.sampling.state import initial_state

STEPS = 10


@pytest.fixture
def checkpoint(untrained):
    """Untrained, in float64 so that no decision depends on the batch."""
    loaded = load_checkpoint(untrained)
    loaded.denoiser.double()
    return loaded


@pytest.fixture
def calls(checkpoint, calls_of):
    """Molecules in each network call so far."""
    return calls_of(checkpoint)


def config(checkpoint, **settings):
    return sampler_config(checkpoint, {"steps": STEPS, **settings})


def run(engine):
    done = {}
    while engine.busy:
        done |= engine.step()
    return done


def mixed(checkpoint):
    """Requests of every policy and solver, with different seeds, sizes, ids and steps; two are the same."""
    adaptive = config(checkpoint, policy="adaptive", async_ratio=0.5)
    return [
        Request(3, config(checkpoint, policy="synchronous"), seed=1, sizes=(5, 9)),
        Request(2, adaptive, seed=1, sizes=(5,)),
        Request(2, config(checkpoint, policy="manual", group_size=3), seed=2, sizes=(9, 5)),
        Request(2, config(checkpoint, policy="synchronous", steps=7, solver="ddim"), seed=1, sizes=(9,)),
        Request(4, adaptive, seed=3, first=7),
        Request(2, config(checkpoint, solver="dpmpp_2m_sde", grid="quadratic"), sizes=(6,)),
        Request(3, config(checkpoint, policy="synchronous"), seed=1, sizes=(5, 9)),
    ]


@pytest.fixture(scope="module")
def alone(untrained):
    """The molecules of each request in `mixed`, made by itself."""
    model = load_checkpoint(untrained)
    model.denoiser.double()
    return [fulfil(model, request) for request in mixed(model)]


@pytest.mark.parametrize("batch_size", [3, 64])
def test_requests_made_together_are_those_made_alone(checkpoint, alone, batch_size, same):
    engine = Engine(checkpoint, batch_size, 1.0)
    request_ids = [engine.submit(request) for request in mixed(checkpoint)]
    done = run(engine)
    assert all(same(done[request_id], made) for request_id, made in zip(request_ids, alone, strict=True))


@pytest.mark.parametrize("pause", [1, 6])
def test_requests_may_join_at_any_step(checkpoint, alone, pause, same):
    engine, request_ids, done = Engine(checkpoint, 8, 1.0), [], {}
    for request in mixed(checkpoint):
        request_ids.append(engine.submit(request))
        for _ in range(pause):
            done |= engine.step()
    done |= run(engine)
    assert all(same(done[request_id], made) for request_id, made in zip(request_ids, alone, strict=True))


def test_molecules_at_different_stages_and_of_different_settings_share_network_calls(checkpoint, calls):
    """Three requests of equal size, one per step: the first begins alone, and the last ends alone."""
    engine = Engine(checkpoint, 64, 1.0)
    for steps in (STEPS, STEPS, 5):
        engine.submit(Request(2, config(checkpoint, policy="synchronous", steps=steps), seed=steps, sizes=(6,)))
        engine.step()
    run(engine)
    first, second, third = range(0, STEPS + 1), range(1, STEPS + 2), range(2, 8)
    assert calls == [2 * sum(step in span for span in (first, second, third)) for step in range(STEPS + 2)]


def test_a_place_that_becomes_free_is_taken_at_once(checkpoint, calls):
    """Seven molecules in two places, synchronously: four rounds, the last with one."""
    engine = Engine(checkpoint, 2, 1.0)
    engine.submit(Request(7, config(checkpoint, policy="synchronous"), sizes=(6,)))
    run(engine)
    assert calls == [2] * (3 * (STEPS + 1)) + [1] * (STEPS + 1)


def test_molecules_of_unlike_size_do_not_share_a_call(checkpoint, calls):
    engine = Engine(checkpoint, 64, 1.0)
    engine.submit(Request(3, config(checkpoint, policy="synchronous"), sizes=(4, 9, 4)))
    run(engine)
    assert sorted(set(calls)) == [1, 2]


def test_requests_are_served_in_the_order_in_which_they_came(checkpoint):
    engine = Engine(checkpoint, 3, 1.0)
    settings = config(checkpoint, policy="synchronous")
    request_ids = [engine.submit(Request(2, settings, seed, sizes=(5,))) for seed in range(4)]
    ended = [set(done) for done in iter(lambda: engine.busy and engine.step(), False) if done]
    assert ended == [{request_ids[0]}, set(request_ids[1:3]), {request_ids[3]}]


def giant(checkpoint, num=2, seed=0):
    """A request whose molecules take five times as many calls as others."""
    slow = config(checkpoint, policy="random", async_ratio=1.0, advance_rate=0.01, max_pauses=4)
    return Request(num, slow, seed, sizes=(6,))


@pytest.fixture
def short_turns(monkeypatch):
    monkeypatch.setattr("ead_core.sampling.engine.TURN", 10)
    monkeypatch.setattr("ead_core.sampling.engine.LOOK", 2)


@pytest.mark.usefixtures("short_turns")
def test_a_small_request_does_not_wait_for_the_end_of_giants(checkpoint, same):
    engine = Engine(checkpoint, 4, 1.0)
    giants = [engine.submit(giant(checkpoint, 3, seed)) for seed in range(3)]
    for _ in range(STEPS):
        engine.step()
    small = engine.submit(Request(1, config(checkpoint, policy="synchronous"), sizes=(6,)))
    steps, done = 0, {}
    while small not in done:
        done |= engine.step()
        steps += 1
    assert steps < STEPS + 1 + 10
    assert set(done) == {small}
    assert same(done[small], fulfil(checkpoint, Request(1, config(checkpoint, policy="synchronous"), sizes=(6,))))
    for request_id in giants:
        engine.cancel(request_id)
    assert engine.step() == {}


@pytest.mark.usefixtures("short_turns")
def test_giants_are_served_alike_and_end_as_if_they_were_alone(checkpoint, same):
    engine, requests = Engine(checkpoint, 2, 1.0), [giant(checkpoint, 2, seed) for seed in range(2)]
    request_ids = [engine.submit(request) for request in requests]
    shares, done = dict.fromkeys(request_ids, 0), {}
    while engine.busy:
        done |= engine.step()
        if not done:
            for request_id in engine.running:
                shares[request_id] += 1
    assert max(shares.values()) < 1.5 * min(shares.values())
    for request, request_id in zip(requests, request_ids, strict=True):
        assert same(done[request_id], fulfil(checkpoint, request))


@pytest.mark.usefixtures("short_turns")
def test_a_newcomer_is_not_served_before_those_that_have_worked_long(checkpoint):
    """It takes part like the others from now on, so that a stream of newcomers stops nobody."""
    engine = Engine(checkpoint, 1, 1.0)
    first = engine.submit(giant(checkpoint, 1))
    for _ in range(20):
        engine.step()
    second = engine.submit(giant(checkpoint, 1, seed=1))
    turns = []
    for _ in range(20):
        engine.step()
        turns.append(engine.running)
    assert turns.count({first}) == turns.count({second}) == 10


def test_resumed_molecules_end_as_if_they_had_not_been_interrupted(checkpoint, same):
    """From the start, from the middle, and from clean states, which only need decoding."""
    settings = config(checkpoint, policy="adaptive", async_ratio=0.5)
    process = build_process(checkpoint, settings, 7)
    keys = torch.full((2,), 3), torch.tensor([0, 1]), size_mask([7, 5])
    first = initial_state(*keys, 3 + checkpoint.atom_types.num_features, process, torch.float64)
    states = [first, *trajectory(first, process)]
    whole = fulfil(checkpoint, Request(2, settings, seed=3, sizes=(7, 5)))
    for state in (states[0], states[9]):
        assert same(complete(checkpoint, state, process), whole)
    clean = complete(checkpoint, states[-1], process)
    assert np.allclose(clean.positions, whole.positions, atol=1e-5)
    assert clean.properties["nfe"].tolist() == [len(states)] * 2  # the batch went on until the last was clean


def test_a_cancelled_request_leaves_and_the_others_stay(checkpoint, calls, same):
    settings = config(checkpoint, policy="synchronous")
    engine = Engine(checkpoint, 2, 1.0)
    gone, stays, waits = (engine.submit(Request(1, settings, seed, sizes=(6,))) for seed in range(3))
    engine.step()
    assert engine.running == {gone, stays}
    engine.cancel(gone)
    engine.step()
    assert engine.running == {stays, waits}
    engine.cancel(waits)
    engine.cancel(99)
    done = run(engine)
    assert set(done) == {stays}
    assert same(done[stays], fulfil(checkpoint, Request(1, settings, 1, sizes=(6,))))


def test_an_idle_engine_does_nothing(checkpoint, calls):
    engine = Engine(checkpoint, 2, 1.0)
    request_id = engine.submit(Request(1, config(checkpoint)))
    engine.cancel(request_id)
    assert engine.step() == {}
    assert not engine.busy
    assert engine.step() == {}
    assert calls == []


def test_the_seconds_of_all_molecules_add_up_to_the_work(checkpoint, monkeypatch):
    """On a clock that ticks once per look, each step takes a second, shared by who runs, whoever rests meanwhile."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("ead_core.sampling.engine.TURN", 5)
    monkeypatch.setattr("ead_core.sampling.engine.LOOK", 2)
    monkeypatch.setattr("ead_core.sampling.engine.time.perf_counter", lambda: float(next(ticks)))
    engine, done, steps = Engine(checkpoint, 3, 1.0), {}, 0
    for seed in range(3):
        engine.submit(Request(2, config(checkpoint), seed, sizes=(5, 9)))
    while engine.busy:
        done |= engine.step()
        steps += 1
    assert sum(made.properties["seconds"].sum() for made in done.values()) == pytest.approx(steps)


def test_a_request_that_cannot_be_made_is_refused_before_it_enters(checkpoint):
    engine = Engine(checkpoint, 2, 1.0)
    with pytest.raises(ConfigError, match="the number of molecules must be at least 1, not 0"):
        engine.submit(replace(Request(1, config(checkpoint)), num=0))
    assert not engine.busy
