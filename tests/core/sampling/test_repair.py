"""Broken molecules come back with what was to be kept, and with noise that depends on nobody else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.noise import Stream, derived_seeds
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError, DataError
from ead_core.sampling.generation import sample
from ead_core.sampling.repair import freed_atoms, ids_of, take_in, unfit
from ead_core.sampling.repair_rounds import repair
from ead_core.sampling.requests import sampler_config

LOCAL = {"repair_extent": "local", "repair_hops": 0}
POLICIES = [
    {"policy": "synchronous"},
    {"policy": "adaptive", "async_ratio": 0.5},
    {"policy": "synchronous", "solver": "dpmpp_2m_sde", "steps": 10, "grid": "quadratic"},
]


@pytest.fixture
def model(make_checkpoint):
    return load_checkpoint(make_checkpoint({"training.fragments": 0.2, "sampler.policy": "synchronous"}))


@pytest.fixture
def broken():
    """Chains of C–O single bonds whose end is far away: the last atom of each is a piece by itself."""
    positions = [np.stack([1.43 * np.arange(n), 0.3 * np.arange(n) % 2, 0 * np.arange(n)], axis=1) for n in (4, 5, 6)]
    for place, chain in enumerate(positions):
        chain[-1] += [3, place, 7]
    charges = [np.array([6, 8] * 3)[:n] for n in (4, 5, 6)]
    return MoleculeSet.from_lists(charges, positions, {"id": np.array([7, 3, 40]), "nfe": np.array([100, 20, 3])})


def never(molecules):
    return np.zeros(len(molecules), dtype=bool)


def always(molecules):
    return ~never(molecules)


def mended(model, molecules, good=always, seed=0, tried=None, **settings):
    config = sampler_config(model, {"repair_attempts": 1, **settings})
    return repair(model, molecules, config, good, always(molecules) if tried is None else tried, seed)


def only_last(monkeypatch):
    """The last atom of each molecule is the defective one."""
    monkeypatch.setattr(
        "ead_core.sampling.repair.defective_atoms", lambda charges, *_: np.arange(len(charges)) == len(charges) - 1
    )


@pytest.mark.parametrize("settings", POLICIES, ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("level", [0.3, 1.0])
def test_held_atoms_stay_to_the_bit_and_freed_ones_do_not(model, broken, monkeypatch, settings, level):
    only_last(monkeypatch)
    shifted = replace(broken, positions=broken.positions + np.float32([100, -20, 3]))
    result = mended(model, shifted, repair_level=level, **LOCAL, **settings)
    assert [free.tolist() for free in result.freed] == [[False] * (n - 1) + [True] for n in (4, 5, 6)]
    last = broken.offsets[1:] - 1
    kept = np.setdiff1d(np.arange(15), last)
    assert np.array_equal(result.molecules.positions[kept], shifted.positions[kept])
    assert np.array_equal(result.molecules.charges[kept], shifted.charges[kept])
    assert (np.abs(result.molecules.positions[last] - shifted.positions[last]).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("settings", [{}, LOCAL], ids=["whole", "local"])
def test_the_noise_of_a_molecule_is_its_own(model, broken, monkeypatch, settings):
    only_last(monkeypatch)
    together = mended(model, broken, repair_level=0.5, **settings).molecules
    alone = [mended(model, broken.select([row]), repair_level=0.5, **settings).molecules for row in range(3)]
    assert np.abs(together.positions - MoleculeSet.concatenate(alone).positions).max() < 1e-4
    again, other = (mended(model, broken, seed=seed, repair_level=0.5, **settings).molecules for seed in (0, 1))
    assert np.array_equal(together.positions, again.positions)
    assert np.abs(together.positions - other.positions).max() > 1e-2


@pytest.mark.parametrize("settings", [{}, LOCAL], ids=["whole", "local"])
def test_where_a_molecule_is_does_not_matter(model, broken, monkeypatch, settings):
    only_last(monkeypatch)
    shift = np.float32([1, -2, 3])
    here = mended(model, broken, repair_level=0.5, **settings).molecules
    there = mended(model, replace(broken, positions=broken.positions + shift), repair_level=0.5, **settings).molecules
    assert np.abs(here.positions + shift - there.positions).max() < 1e-4


def test_a_whole_molecule_stays_where_it_is(model, broken):
    result = mended(model, replace(broken, positions=broken.positions + np.float32(50)), repair_level=0.5).molecules
    for row in range(3):
        before, after = broken.molecule(row)[1], result.molecule(row)[1]
        assert np.allclose(before.mean(axis=0) + 50, after.mean(axis=0), atol=1e-4)


def test_from_the_top_a_molecule_is_drawn_anew_with_the_seed_of_its_attempt(model, broken):
    (entry,) = take_in(model, broken, sampler_config(model, {"repair_attempts": 1, "repair_level": 1}), 5, attempt=2)
    seeds = derived_seeds(5, torch.tensor([7, 3, 40]), 2, Stream.REPAIR)
    assert entry.state.seeds.tolist() == seeds.tolist()
    assert len(set(seeds.tolist())) == 3
    made = mended(model, broken.select([1]), repair_level=1).molecules
    seed = int(derived_seeds(0, torch.tensor([3]), 1, Stream.REPAIR))
    drawn = sample(model, 1, seed, [5], first=3, policy="synchronous")
    centred = [x.positions - x.positions.mean(axis=0) for x in (made, drawn)]
    assert np.allclose(*centred, atol=1e-5)
    assert np.array_equal(made.charges, drawn.charges)


def test_every_round_has_its_own_noise_and_begins_with_the_original(model, broken):
    config = sampler_config(model, {"repair_attempts": 3, "repair_level": 0.5})
    first, second = (take_in(model, broken, config, 0, attempt)[0].state for attempt in (1, 2))
    assert (first.z - second.z).abs().amax(dim=(1, 2)).min() > 1e-2
    seen = []

    def in_the_second_round(molecules):
        seen.append(molecules.positions)
        return np.full(len(molecules), len(seen) == 2)

    result = repair(model, broken, config, in_the_second_round, always(broken))
    assert result.molecules.properties["repaired"].tolist() == [2, 2, 2]
    assert np.array_equal(result.molecules.positions, seen[1])
    moved = repair(model, broken, config.model_copy(update={"repair_attempts": 1}), always, always(broken))
    assert np.array_equal(seen[0], moved.molecules.positions)


def test_calls_are_counted_on(model, broken):
    """Half of 20 levels and the decoding, twice."""
    result = mended(model, broken, never, repair_level=0.5, repair_attempts=2)
    assert result.molecules.properties["nfe"].tolist() == [100 + 22, 20 + 22, 3 + 22]


def test_who_is_not_mended_or_not_tried_is_as_before(model, broken):
    result = mended(model, broken, never, repair_level=0.5, tried=np.array([True, False, True]))
    assert np.array_equal(result.molecules.positions, broken.positions)
    assert np.array_equal(result.molecules.charges, broken.charges)
    assert result.molecules.properties["repaired"].tolist() == [0, 0, 0]
    assert result.molecules.properties["nfe"].tolist() == [111, 20, 14]
    assert not result.mended.any()
    assert result.tried.tolist() == [True, False, True]


def test_rounds_are_counted_to_the_last_whoever_is_mended_before(model, broken):
    for good in (always, never):
        done = []
        config = sampler_config(model, {"repair_attempts": 4, "repair_level": 0.1})
        repair(model, broken, config, good, always(broken), progress=done.append)
        assert sum(done) == 4 * 3


def test_those_with_held_atoms_enter_apart_from_the_others(model, broken, monkeypatch):
    monkeypatch.setattr(
        "ead_core.sampling.repair.defective_atoms", lambda charges, *_: np.arange(len(charges)) >= len(charges) % 2
    )
    config = sampler_config(model, {"repair_attempts": 1, **LOCAL})
    whole, local = take_in(model, broken, config)
    assert whole.rows.tolist() == [0, 2]
    assert local.rows.tolist() == [1]
    assert not whole.process.pinned
    assert local.process.pinned
    assert local.state.held.tolist() == [[True, False, False, False, False]]
    assert not whole.state.held.any()


def test_without_a_named_atom_the_whole_molecule_is_freed(model, broken, monkeypatch):
    monkeypatch.setattr("ead_core.sampling.repair.defective_atoms", lambda charges, *_: charges < 0)
    assert freed_atoms(broken[0], sampler_config(model, {"repair_attempts": 1, **LOCAL})).all()


def test_targets_that_molecules_carry_are_told_again(conditional, broken):
    model = load_checkpoint(conditional)
    asked = replace(broken, properties={**broken.properties, "target_alpha": np.array([25.0, np.nan, 30.0])})
    config = sampler_config(model, {"repair_attempts": 1})
    (told,), (open_,) = (take_in(model, molecules, config) for molecules in (asked, broken))
    known = told.state.context[:, 1::2].sum(dim=1)
    assert known.tolist() == [1, 0, 1]
    assert not open_.state.context.any()


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([5, 9], [5, 9]),
        ([5.0, 9.0], [5, 9]),
        ([5, 5], [0, 1]),
        ([5, np.nan], [0, 1]),
        ([5, -1], [0, 1]),
        (["a", "b"], [0, 1]),
        ([0.5, 1], [0, 1]),
    ],
)
def test_ids_are_those_of_the_file_if_they_tell_molecules_apart(make_molecules, values, ids):
    molecules = replace(make_molecules((4, 5)), properties={"id": np.array(values)})
    assert ids_of(molecules).tolist() == ids
    assert ids_of(make_molecules((4, 5))).tolist() == [0, 1]


def test_what_a_model_cannot_take_in_is_said(model):
    line = np.arange(30.0).reshape(10, 3)
    atoms = [[7, 6, 8, 9], [6] * 10, [6] * 4, [6] * 4, [6] * 4]
    places = [line[: len(one)].copy() for one in atoms]
    places[2][0] = np.nan
    molecules = MoleculeSet.from_lists(list(map(np.array, atoms)), places, {"formal_charge": np.array([0, 0, 0, 1, 0])})
    assert unfit(model, molecules) == [
        "checkpoint does not know N, F",
        "checkpoint has learnt from molecules of 4 to 6 atoms",
        "a coordinate is not a finite number",
        "it has a charge, of which models know nothing",
        "",
    ]


def test_an_unknown_element_is_refused(model):
    with pytest.raises(DataError, match="element N is not in the model's set"):
        mended(model, MoleculeSet.from_lists([np.array([7, 6])], [np.eye(2, 3)]))


def test_local_repair_needs_a_model_that_can_keep_atoms(make_checkpoint, broken):
    model = load_checkpoint(make_checkpoint())
    with pytest.raises(ConfigError, match=r"^checkpoint was not trained to keep atoms \(training\.fragments\)"):
        mended(model, broken, **LOCAL)


def test_a_model_that_decides_sizes_repairs_nothing(make_checkpoint, broken):
    model = load_checkpoint(make_checkpoint({"diffusion.size_mode": "dummy"}))
    with pytest.raises(ConfigError, match="decides sizes by itself"):
        mended(model, broken)


def test_a_molecule_too_large_for_the_memory_is_refused(model, broken):
    with pytest.raises(ConfigError, match=r"more than sampler\.memory_budget"):
        mended(model, broken, memory_budget=1e-9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"repair_level": 0.0}, r"sampler\.repair_level: must be greater than 0"),
        ({"repair_level": 1.1}, r"sampler\.repair_level: must be less than or equal to 1"),
        ({"repair_extent": "near"}, r"sampler\.repair_extent: must be 'whole' or 'local'"),
        ({"repair_hops": 2}, r"sampler\.repair_hops has no effect with sampler\.repair_extent=whole"),
        ({"repair_attempts": 0, "repair_level": 0.4}, r"has no effect with sampler\.repair_attempts=0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(model, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        sampler_config(model, {"repair_attempts": 1, **settings})
