"""Molecules that branch on their way: which branches end, which one is kept, and what all of them have cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.common.noise import Stream, derived_seeds
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError, Targets
from ead_core.data.tensors import size_mask
from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import Acceptance
from ead_core.sampling.branching import BranchPlan
from ead_core.sampling.choice import BEST_OF, SELECTED_BY, distance, not_sound
from ead_core.sampling.delivery import deliver
from ead_core.sampling.engine import Engine
from ead_core.sampling.generation import complete, fulfil, sample
from ead_core.sampling.network_calls import calls_after
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.sampler import foresee, predict, step
from ead_core.sampling.state import initial_state

STEPS = 20
LEVELS = {"branch_level": 0.6, "pruning_levels": (0.4, 0.2)}


@pytest.fixture(scope="module")
def make_request(generator, make_selector):
    def make(num=2, seed=1, branches=6, selector=None, targets=None, sizes=(5, 7), **settings):
        config = sampler_config(generator, {"policy": "synchronous", "branches": branches, **LEVELS, **settings})
        wanted = Targets.of(targets or {"alpha": 30.0, "gap": (6000, 8000)})
        return Request(num, config, seed, sizes=sizes, targets=wanted, selector=selector or make_selector())

    return make


@pytest.fixture
def calls(generator, calls_of):
    """Molecules in each network call so far."""
    return calls_of(generator)


def as_set(generator, positions, features, asked):
    """The one molecule of a state."""
    charges = generator.atom_types.charges(features)[0].numpy()
    return MoleculeSet.from_lists([charges], [positions[0].numpy()], asked)


@torch.inference_mode()
def branches_one_by_one(generator, request):
    """The first molecule of a request by a plain loop over its branches: who is kept of them, and all network calls."""
    prepared = prepare(generator, request)
    process, start, plan = prepared.process, prepared.start, BranchPlan.of(request.sampler, prepared.process)
    asked = {name: values[:1] for name, values in start.properties.items()}
    seeds, ids, mask = torch.tensor([request.seed]), start.ids[:1], size_mask(start.sizes[:1])
    channels = 3 + generator.atom_types.num_features
    trunk = initial_state(seeds, ids, mask, channels, process, torch.float64, start.context[:1])

    def lowered(state, index):
        while int(state.grid_index.max()) > index:
            state = step(state, process)
        return state

    trunk = lowered(trunk, plan.split)
    alive = [
        replace(trunk, seeds=derived_seeds(seeds, ids, branch, Stream.BRANCH)) if branch else trunk
        for branch in range(plan.branches)
    ]
    spent = int(trunk.calls[0])
    for index, kept in plan.prunings:
        states = [lowered(state, index) for state in alive]
        spent += sum(int((now.calls - before.calls)[0]) for now, before in zip(states, alive, strict=True))
        seen = [as_set(generator, *foresee(state, predict(state, process), process), asked) for state in states]
        far = [distance(one, request.selector)[0] for one in seen]
        order = np.argsort(far, kind="stable")
        spent += sum(int((calls_after(states[place], process) - states[place].calls)[0]) for place in order[kept:])
        alive = [states[place] for place in order[:kept]]
    finished = [complete(generator, state, process) for state in alive]
    spent += sum(int(one.properties["nfe"][0] - state.calls[0]) for one, state in zip(finished, alive, strict=True))
    finished = [replace(one, properties={**one.properties, **asked}) for one in finished]
    return min(finished, key=lambda one: (not_sound(one)[0], distance(one, request.selector)[0])), spent


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pruning_kept": (0.5, 1)},
        {"policy": "adaptive", "async_ratio": 0.5, "pruning_kept": 0.4},
        {"solver": "dpmpp_2m_sde", "guidance": 2.0, "branch_level": 0.5},
        {"corrector": 1.0, "corrector_levels": (0.0, 0.7)},
    ],
    ids=["halved", "two finish", "adaptive", "guided", "corrected"],
)
def test_the_branch_that_a_plain_loop_keeps_is_delivered_at_the_cost_of_all(generator, make_request, settings):
    request = make_request(1, **settings)
    made = fulfil(generator, request)
    expected, spent = branches_one_by_one(generator, request)
    assert made.molecule(0)[0].tolist() == expected.charges.tolist()
    assert np.allclose(made.molecule(0)[1], expected.positions, atol=1e-5)
    assert made.properties["nfe"][0] == spent


def test_calls_of_branches_that_end_are_counted_as_they_are_made(generator, make_request, calls):
    """One way for 8 of 20 steps, six to the step that starts at 0.4 T, three to that at 0.2 T, two to the decoding."""
    made = fulfil(generator, make_request())
    assert made.properties["nfe"].tolist() == [8 + 6 * 5 + 3 * 4 + 2 * 4] * 2
    assert sum(calls) == made.properties["nfe"].sum()


def test_the_first_branch_is_the_molecule_as_it_would_be_alone(generator, make_request):
    """Ended at once, the others change nothing."""
    request = make_request(4, branches=2, pruning_levels=())
    plain = fulfil(generator, replace(request, sampler=request.sampler.model_copy(update={"branches": 1})))
    both = fulfil(generator, request)
    chosen = [np.allclose(a.positions, b.positions, atol=1e-5) for a, b in zip(plain, both, strict=True)]
    assert any(chosen)
    assert not all(chosen)


def test_progress_counts_molecules_and_not_their_branches(generator, make_request):
    done = []
    fulfil(generator, make_request(5, pruning_kept=(0.5, 1), batch_size=4), done.append)
    assert sum(done) == 5


@pytest.fixture(scope="module")
def requests(make_request):
    """With and without branches, of different settings and targets."""
    adaptive = {"policy": "adaptive", "async_ratio": 0.5, "pruning_kept": (0.5, 1)}
    plain = make_request(2)
    return [
        make_request(2),
        make_request(2, 5, 3, **adaptive),
        replace(plain, sampler=plain.sampler.model_copy(update={"branches": 1})),
        make_request(2, seed=7, branches=3, targets={"alpha": 25.0}),
    ]


@pytest.fixture(scope="module")
def alone(generator, requests):
    """The molecules of each request, made by itself."""
    return [fulfil(generator, request) for request in requests]


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_a_molecule_does_not_depend_on_the_batch_or_on_other_requests(generator, requests, alone, batch_size, same):
    engine, request_ids, done = Engine(generator, batch_size, 1e-4), [], {}
    for request in requests:
        request_ids.append(engine.submit(request))
        done |= engine.step()
    while engine.busy:
        done |= engine.step()
    for expected, request_id in zip(alone, request_ids, strict=True):
        assert same(done[request_id], expected)


def test_a_molecule_does_not_depend_on_its_place_in_the_request_or_on_the_number_of_processes(
    generator, make_request, same
):
    request = make_request(4, branches=4, batch_size=2)
    whole = fulfil(generator, request)
    assert same(fulfil(generator, replace(request, first=2, num=2)), whole.select(range(2, 4)))
    assert same(fulfil(generator, request, threads=2), whole)


def test_a_cancelled_request_leaves_nothing_behind(generator, make_request, same):
    engine = Engine(generator, 4, 1.0)
    first, second = engine.submit(make_request()), engine.submit(make_request(1, seed=9))
    for _ in range(14):
        engine.step()
    engine.cancel(first)
    done = {}
    while engine.busy:
        done |= engine.step()
    assert set(done) == {second}
    assert same(done[second], fulfil(generator, make_request(1, seed=9)))


def test_a_delivery_counts_the_calls_of_all_branches(generator, make_request, calls):
    request = make_request(4, pruning_kept=(0.5, 0.3))  # which repairs nothing
    molecules, ledger = deliver(generator, request, Order(Acceptance.parse("even_electrons")))
    assert ledger.attempts == 4
    assert ledger.delivered == len(molecules)
    assert ledger.calls + ledger.surplus_calls == sum(calls)


def test_molecules_say_that_they_were_chosen_among_how_many_and_by_whom(generator, make_request, make_selector):
    made = fulfil(generator, make_request())
    assert made.properties[BEST_OF].tolist() == [6, 6]
    assert set(made.properties[SELECTED_BY].tolist()) == {make_selector().fingerprint}
    counted = fulfil(generator, make_request(1, targets={"atoms_C": 3, "alpha": 30.0}))
    assert counted.properties["target_atoms_C"].tolist() == [3]


def test_the_more_branches_the_nearer_to_the_targets(generator, make_request, make_selector):
    """By the selector itself; that this holds by a judge is for the benchmark."""
    far = [
        distance(fulfil(generator, make_request(8, branches=n, sizes=(5,))), make_selector()).mean() for n in (2, 12)
    ]
    assert far[1] < far[0]


def test_levels_become_steps_of_the_grid(generator, make_request):
    def plan(**settings):
        request = make_request(**settings)
        return BranchPlan.of(request.sampler, prepare(generator, request).process)

    assert plan() == BranchPlan(6, 12, ((8, 3), (4, 2)))
    assert plan(pruning_levels=(0.7, 0.6, 0.4), pruning_kept=(0.1, 0.1, 0.5)).prunings == ((8, 3),)
    assert plan(pruning_levels=(0.42, 0.41), pruning_kept=0.5).prunings == ((8, 2),)
    assert plan(pruning_levels=()).prunings == ()
    assert plan(steps=10, grid="quadratic").split == 7
    assert [plan().alive(step) for step in (8, 4)] == [6, 3]
    assert [plan().next_step(step) for step in (12, 8, 4)] == [8, 4, 0]


def test_most_calls_of_a_plan_are_those_that_are_made(generator, make_request):
    request = make_request(pruning_kept=(0.5, 0.7))
    prepared = prepare(generator, request)
    extra = BranchPlan.of(request.sampler, prepared.process).extra_calls(prepared.process, 0)
    assert set(fulfil(generator, request).properties["nfe"]) == {prepared.process.most_calls + extra}


def test_what_cannot_be_chosen_among_is_refused_in_one_sentence(generator, make_request, make_selector, make_set):
    request = make_request()
    no_selector = replace(request, selector=None)
    for wrong, error, sentence in (
        (replace(request, targets=None), TargetError, "sampler.branches keeps what is nearest to its targets"),
        (make_request(branch_level=0.02), ConfigError, "sampler.branch_level=0.02 is below the last step"),
        (make_request(selector=make_selector("first")), ConfigError, "a selector must have the generator's half"),
        (no_selector, ConfigError, "alpha must be predicted, and no bundled selector has learnt"),
        (make_request(targets={"atoms_C": 3}), TargetError, "predicts alpha, gap, but none of them is asked for"),
    ):
        with pytest.raises(error, match=sentence):
            prepare(generator, wrong)
    with pytest.raises(ConfigError, match=r"sampler.branches has no effect with sampler.solver=ddim"):
        make_request(solver="ddim")
    with pytest.raises(ConfigError, match="must be shares of T from high to low"):
        make_request(pruning_levels=(0.1, 0.2))
    with pytest.raises(ConfigError, match="selector needs branches"):
        sample(generator, 1, targets={"alpha": 30}, selector=make_selector())
