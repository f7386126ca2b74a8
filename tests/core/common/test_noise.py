"""The noise is Philox, is Gaussian, and belongs to its molecule alone."""

import pytest
import torch

from ead_core.common.noise import MAX_SEED, Stream, derived_seeds, normal, philox, uniform

RANDOM123_VECTORS = [  # kat_vectors of the Random123 distribution: philox4x32 10
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), RANDOM123_VECTORS)
def test_known_answers(counter, key, expected):
    words = philox(tuple(torch.tensor([word]) for word in counter), key[0] | key[1] << 32)
    assert " ".join(f"{int(word):08x}" for word in words) == expected


def test_moments_of_normals():
    draws = normal(3, torch.arange(4000), 7, Stream.STEP, (10, 9), torch.float64).flatten()
    error = len(draws) ** -0.5
    assert abs(float(draws.mean())) < 4 * error
    assert abs(float((draws**2).mean()) - 1) < 4 * error * 2**0.5
    assert abs(float((draws**4).mean()) - 3) < 4 * error * 96**0.5


def test_uniforms_stay_inside_the_open_interval():
    draws = uniform(0, torch.arange(10_000), 0, Stream.SIZE)
    assert 0 < float(draws.min()) < 1e-3
    assert 1 - 1e-3 < float(draws.max()) < 1


def test_a_molecule_gets_the_same_noise_in_any_batch():
    together = normal(1, torch.tensor([5, 9, 2**40]), 3, Stream.STEP, (12, 9), torch.float32)
    alone = normal(1, torch.tensor([2**40]), 3, Stream.STEP, (7, 9), torch.float32)
    assert torch.equal(together[2:, :7], alone)


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"ids": torch.tensor([6])}, {"iteration": 4}, {"stream": Stream.PRIOR}]
)
def test_every_part_of_the_key_matters(change):
    key = {"seed": 1, "ids": torch.tensor([5]), "iteration": 3, "stream": Stream.STEP}
    base = normal(**key, shape=(4, 9), dtype=torch.float64)
    other = normal(**{**key, **change}, shape=(4, 9), dtype=torch.float64)
    assert (base != other).all()


def test_atoms_and_channels_are_independent():
    draws = normal(1, torch.arange(20_000), 0, Stream.STEP, (2, 6), torch.float64).flatten(1)
    correlation = torch.corrcoef(draws.T) - torch.eye(12)
    assert float(correlation.abs().max()) < 5 / 20_000**0.5


def test_a_seed_per_molecule_gives_what_each_seed_gives_alone():
    seeds, ids = torch.tensor([3, 2**40 + 1, 3]), torch.tensor([5, 5, 9])
    together = normal(seeds, ids, 4, Stream.STEP, (6, 5), torch.float64)
    for row, (seed, name) in enumerate(zip(seeds.tolist(), ids.tolist(), strict=True)):
        alone = normal(seed, torch.tensor([name]), 4, Stream.STEP, (6, 5), torch.float64)
        assert torch.equal(together[row], alone[0])
    assert not torch.equal(together[0], together[1])


def test_derived_seeds_are_seeds_and_their_molecules_own():
    ids = torch.arange(1000)
    seeds = derived_seeds(7, ids, 2, Stream.REPAIR)
    assert len(seeds.unique()) == 1000
    assert 0 <= int(seeds.min()) < 2**55
    assert 2**62 < int(seeds.max()) <= MAX_SEED
    assert torch.equal(seeds[[5, 900]], derived_seeds(torch.tensor([7, 7]), torch.tensor([5, 900]), 2, Stream.REPAIR))
    for others in (derived_seeds(8, ids, 2, Stream.REPAIR), derived_seeds(7, ids, 3, Stream.REPAIR)):
        assert not (seeds == others).any()
