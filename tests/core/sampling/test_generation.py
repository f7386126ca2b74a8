"""Molecules come out as ordered: their number, sizes, order, cost, and the same again for the same seed."""

import functools

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.cpu import torch_threads
from ead_core.data.priors import SizeRange
from ead_core.errors import ConfigError
from ead_core.sampling import generation

# The chains have 4 to 6 atoms, and half of the 20 levels are enough.
sample = functools.partial(generation.sample, beyond_training=True, steps=10)

SIZES = [5, 9, 4, 9, 5, 4]


@pytest.fixture(scope="module")
def checkpoint(untrained):
    """Untrained, 20 levels, trained (as it were) with spreads of up to 5 levels."""
    return load_checkpoint(untrained)


def difference(a, b):
    assert a.num_atoms.tolist() == b.num_atoms.tolist()
    return float(np.abs(a.positions - b.positions).max())


def test_molecules_come_in_order_with_the_sizes_asked_for(checkpoint):
    molecules = sample(checkpoint, 8, sizes=SIZES, batch_size=3)
    assert molecules.properties["id"].tolist() == list(range(8))
    assert molecules.num_atoms.tolist() == [*SIZES, 5, 9]
    assert set(molecules.charges.tolist()) == {6, 8}
    assert np.isfinite(molecules.positions).all()
    assert (molecules.properties["seconds"] > 0).all()


def test_sizes_are_drawn_from_the_training_histogram(checkpoint):
    molecules = sample(checkpoint, 30, policy="synchronous")
    assert set(molecules.num_atoms.tolist()) == {4, 5, 6}


def test_equal_seeds_give_equal_molecules(checkpoint):
    first, again, other = (sample(checkpoint, 4, seed, SIZES) for seed in (3, 3, 4))
    assert np.array_equal(first.positions, again.positions)
    assert np.array_equal(first.charges, again.charges)
    assert difference(first, other) > 0.1


def test_molecules_of_a_run_differ(checkpoint):
    molecules = sample(checkpoint, 2, sizes=[6])
    assert np.abs(molecules.molecule(0)[1] - molecules.molecule(1)[1]).max() > 0.1


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_batching_does_not_change_molecules(checkpoint, batch_size):
    whole = sample(checkpoint, 6, 1, SIZES, policy="synchronous")
    parts = sample(checkpoint, 6, 1, SIZES, policy="synchronous", batch_size=batch_size)
    assert difference(whole, parts) < 1e-3
    assert np.array_equal(whole.charges, parts.charges)


def test_a_molecule_does_not_depend_on_how_many_follow(checkpoint):
    many, few = (sample(checkpoint, num, 1, SIZES, policy="synchronous") for num in (6, 2))
    assert difference(many.select([0, 1]), few) < 1e-3


def test_a_run_can_begin_at_any_molecule(checkpoint):
    """Shards of a campaign are runs like this one: ids, and with them cycled sizes, go on."""
    whole = sample(checkpoint, 8, 1, SIZES, policy="synchronous")
    part = sample(checkpoint, 3, 1, SIZES, policy="synchronous", first=4)
    assert part.properties["id"].tolist() == [4, 5, 6]
    assert difference(whole.select([4, 5, 6]), part) < 1e-3
    drawn, later = sample(checkpoint, 9), sample(checkpoint, 4, first=5)
    assert drawn.num_atoms[5:].tolist() == later.num_atoms.tolist()


@pytest.mark.parametrize(("steps", "calls"), [(None, 21), (10, 11), (7, 8), (1, 2)])
def test_synchronous_sampling_costs_its_steps_and_one_decoding(checkpoint, steps, calls):
    molecules = sample(checkpoint, 6, sizes=SIZES, policy="synchronous", steps=steps)
    assert set(molecules.properties["nfe"].tolist()) == {calls}


@pytest.mark.parametrize(("group", "lag", "steps"), [(5, 1, None), (3, 2, None), (4, 1, 10)])
def test_a_pyramid_costs_its_width_more(checkpoint, group, lag, steps):
    molecules = sample(
        checkpoint, 6, sizes=SIZES, policy="manual", group_size=group, lag=lag, steps=steps, batch_size=2
    )
    expected = (steps or 20) + lag * ((molecules.num_atoms - 1) // group) + 1
    assert molecules.properties["nfe"].tolist() == expected.tolist()


def test_adaptive_sampling_pays_for_pauses_within_its_bound(checkpoint):
    ratio, patience = 0.5, 2
    settings = {"policy": "adaptive", "async_ratio": ratio, "max_pauses": patience}
    calls = sample(checkpoint, 6, sizes=SIZES, **settings).properties["nfe"]
    assert calls.max() > 10 + 1
    assert calls.max() <= 10 + 1 + patience * ratio * 10
    none = sample(checkpoint, 6, sizes=SIZES, policy="adaptive", async_ratio=0.0)
    assert difference(none, sample(checkpoint, 6, sizes=SIZES, policy="synchronous")) == 0


@pytest.mark.parametrize("policy", ["synchronous", "adaptive", "manual"])
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "dpmpp_2m_sde"])
def test_solvers_work_in_every_policy(checkpoint, solver, policy):
    settings = {"policy": policy, **({"group_size": 3} if policy == "manual" else {})}
    first, again, other = (sample(checkpoint, 3, seed, [5], solver=solver, **settings) for seed in (1, 1, 2))
    assert np.array_equal(first.positions, again.positions)
    assert difference(first, other) > 0.1
    assert difference(first, sample(checkpoint, 3, 1, [5], **settings)) > 0.01


def test_progress_adds_up(checkpoint):
    done = []
    sample(checkpoint, 7, sizes=SIZES, batch_size=2, progress=done.append)
    assert sum(done) == 7
    assert len(done) > 3


def test_a_single_atom_is_a_molecule(checkpoint):
    molecules = sample(checkpoint, 2, sizes=[1])
    assert molecules.num_atoms.tolist() == [1, 1]
    assert np.allclose(molecules.positions, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num": 0}, "the number of molecules must be at least 1, not 0."),
        ({"seed": -1}, "seed must be between 0 and 9223372036854775807, not -1."),
        ({"seed": 2**63}, "seed must be between 0 and 9223372036854775807, not 9223372036854775808."),
        ({"first": -1}, "molecule ids must be between 0 and 9223372036854775807, but the first is -1."),
        ({"sizes": []}, "sizes must be between 1 and 512 atoms, not an empty list."),
        ({"sizes": [5, 0, 513]}, "sizes must be between 1 and 512 atoms, not [0, 513]."),
        ({"polcy": "manual"}, "unknown configuration key 'sampler.polcy'; did you mean sampler.policy?"),
        ({"async_ratio": 2}, "sampler.async_ratio: must be less than or equal to 1, not 2."),
        ({"grid": "cosine"}, "sampler.grid: must be 'even' or 'quadratic', not 'cosine'."),
        ({"solver": "heun"}, "sampler.solver: must be 'ancestral', 'ddim', 'dpmpp_2m', 'dpmpp_2m_sde', 'direct', "),
        ({"steps": 21}, "sampler.steps must be at most the 20 levels of training, not 21."),
        ({"interval": 11}, "sampler.interval=11 exceeds twice the training interval (5);"),
        (
            {"steps": 2},
            "sampler.steps is so small that one step spans 10 levels, more than sampler.interval=5;",
        ),
        (
            {"policy": "manual", "grid": "quadratic", "steps": 5},
            "sampler.steps is so small that one step spans 7 levels, more than sampler.interval=5; use more steps,",
        ),
        (
            {"policy": "manual", "group_size": 1},
            "sampler.lag=1 with sampler.group_size=1 spreads the 9 atoms over 8 steps of the grid; at most 5",
        ),
        (
            {"policy": "manual", "group_size": 2, "steps": 10},
            "sampler.lag=1 with sampler.group_size=2 spreads the 9 atoms over 4 steps of the grid; at most 2",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_sampled_is_one_sentence(checkpoint, arguments, sentence):
    with pytest.raises(ConfigError) as error:
        sample(checkpoint, **{"num": 2, "sizes": [9], "steps": None, **arguments})
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_synchronous_sampling_needs_no_asynchronous_training(make_checkpoint):
    plain = load_checkpoint(make_checkpoint({"diffusion.interval": 0}))
    assert len(sample(plain, 2, policy="synchronous", steps=2)) == 2
    with pytest.raises(ConfigError, match=r"trained with equal levels .*; use sampler\.policy=synchronous\."):
        sample(plain, 2)


def test_a_model_with_dummies_decides_sizes_by_itself(make_checkpoint):
    checkpoint = load_checkpoint(make_checkpoint({"diffusion.size_mode": "dummy"}))
    molecules = sample(checkpoint, 20, policy="synchronous")
    assert set(molecules.charges.tolist()) == {6, 8}
    assert len(set(molecules.num_atoms.tolist())) > 2  # untrained: any slot may be empty
    assert int(molecules.num_atoms.max()) <= max(checkpoint.statistics.sizes)
    _, positions = molecules.molecule(0)
    assert np.abs(positions.mean(axis=0)).max() < 1e-5
    with pytest.raises(ConfigError, match=r"decides sizes by itself \(diffusion.size_mode=dummy\); give none"):
        sample(checkpoint, 2, sizes=[5])


def test_sizes_can_be_a_range(checkpoint):
    molecules = sample(checkpoint, 12, sizes=SizeRange(5, 9), policy="synchronous")
    assert set(molecules.num_atoms.tolist()) == {5, 6}


@pytest.mark.parametrize(("sizes", "told"), [([5, 9], 9), ([3], 3), ([6, 100], 100)])
def test_sizes_that_training_did_not_have_must_be_asked_for_twice(checkpoint, sizes, told):
    with pytest.raises(ConfigError, match=f"molecules of 4 to 6 atoms, so {told} atoms are refused; --beyond-training"):
        generation.sample(checkpoint, 2, sizes=sizes)


def test_a_stream_has_one_thread_and_afterwards_there_are_those_of_before(checkpoint):
    seen = []
    settings = {"progress": lambda _: seen.append(torch.get_num_threads()), "policy": "synchronous", "steps": 2}
    with torch_threads(2):
        for threads in (1, 3, None):
            generation.sample(checkpoint, 1, threads=threads, **settings)
            assert torch.get_num_threads() == 2
    assert seen == [1, 1, 1]
