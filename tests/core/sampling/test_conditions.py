"""What a molecule starts from: targets are met, the rest is drawn from training, and contradictions are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.priors import SizeRange
from ead_core.data.targets import TargetError, Targets
from ead_core.diffusion.context import conditioned
from ead_core.errors import ConfigError
from ead_core.sampling.conditions import decide, warnings_before
from ead_core.sampling.requests import Request, of_largest

IDS = torch.arange(60)


@pytest.fixture(scope="module")
def checkpoint(conditional):
    return load_checkpoint(conditional)


def ask(checkpoint, wishes, sizes=None, ids=IDS, seed=0):
    targets = wishes if isinstance(wishes, Targets) or wishes is None else Targets.of(wishes)
    return decide(checkpoint, seed, ids, sizes, targets)


def test_without_targets_sizes_are_those_of_the_histogram_and_nothing_is_known(checkpoint):
    free = ask(checkpoint, None)
    assert set(free.sizes.tolist()) == {4, 5, 6, 7, 8, 9}
    assert free.context.shape == (60, 10)
    assert not free.context.any()
    assert free.properties == {}


@pytest.mark.parametrize(("alpha", "size"), [(20, 4), (30, 6), (45, 9), (100, 9), (1, 4)])
def test_the_size_follows_the_target(checkpoint, alpha, size):
    """alpha is 5 per atom to within 1, so that the nearest molecules are of one size."""
    assert set(ask(checkpoint, {"alpha": alpha}).sizes.tolist()) == {size}


def test_values_are_drawn_from_the_range_as_training_has_them(checkpoint):
    start = ask(checkpoint, {"alpha": (28, 42), "mu": (1, 3)})
    alpha, mu = start.values["alpha"], start.values["mu"]
    assert alpha.min() >= 28
    assert alpha.max() <= 42
    assert len(set(alpha.tolist())) > 10
    assert set(start.sizes.tolist()) == {6, 8}  # mu is known of even sizes
    assert np.abs(alpha - 5 * start.sizes).max() <= 1  # of one training molecule
    rows = {tuple(row) for row in checkpoint.prior.values[:, [0, 2]].astype(float).tolist()}
    assert set(zip(alpha.tolist(), mu.tolist(), strict=True)) <= rows


def test_draws_depend_on_seed_and_id_alone(checkpoint):
    wishes = {"alpha": (20, 45)}
    all_of_them, some = ask(checkpoint, wishes), torch.tensor([41, 3, 17])
    few = ask(checkpoint, wishes, ids=some)
    assert np.array_equal(few.values["alpha"], all_of_them.values["alpha"][some])
    assert np.array_equal(few.sizes, all_of_them.sizes[some])
    assert torch.equal(few.context, all_of_them.context[some])
    assert not np.array_equal(ask(checkpoint, wishes, seed=1).values["alpha"], all_of_them.values["alpha"])


def test_a_range_that_training_lacks_is_met_all_the_same(checkpoint):
    start = ask(checkpoint, {"mu": (4.9999, 30)})
    assert (start.values["mu"] >= 4.9999).all()
    beyond = ask(checkpoint, {"mu": (20, 30)}).values["mu"]
    assert beyond.min() >= 20
    assert beyond.max() <= 30
    assert np.ptp(beyond) > 5
    many = ask(checkpoint, {"atoms_C": (20, 22)})
    assert set(many.values["atoms_C"].tolist()) == {20, 21, 22}
    assert (many.sizes >= many.values["atoms_C"]).all()


def test_what_is_open_stays_unknown(checkpoint):
    start = ask(checkpoint, {"gap": 6500})
    known = start.context[:, 1::2]
    assert known[:, 1].all()
    assert known.sum() == 60
    assert list(start.properties) == ["target_gap", "warning"]


def test_a_row_of_a_table_is_for_one_molecule(checkpoint):
    nan = float("nan")
    targets = Targets(("alpha",), (((20, 20),), ((nan, nan),), ((45, 45),)), (None, 7, None))
    start = ask(checkpoint, targets, ids=torch.arange(6))
    assert start.sizes.tolist() == [4, 7, 9] * 2
    assert np.array_equal(start.values["alpha"], [20, nan, 45] * 2, equal_nan=True)
    assert conditioned(start.context).tolist() == [True, False, True] * 2
    later = ask(checkpoint, targets, ids=torch.arange(4, 6))
    assert np.array_equal(later.sizes, start.sizes[4:])
    open_rows = ask(checkpoint, Targets(("alpha",), (((nan, nan),),)))
    assert np.array_equal(open_rows.sizes, ask(checkpoint, None).sizes)


def test_a_size_that_is_given_stays_and_takes_part_in_draws(checkpoint):
    start = ask(checkpoint, {"alpha": (20, 45)}, sizes=(5, 8))
    assert start.sizes.tolist() == [5, 8] * 30
    assert np.abs(start.values["alpha"] - 5 * start.sizes).max() <= 1
    ranged = ask(checkpoint, {"alpha": 20}, sizes=SizeRange(6, 8))
    assert set(ranged.sizes.tolist()) == {6}
    assert set(ask(checkpoint, {"atoms_O": 0}, sizes=SizeRange(5, 6)).sizes.tolist()) <= {5, 6}


def test_a_full_composition_is_the_size(checkpoint):
    assert set(ask(checkpoint, {"atoms_C": 3, "atoms_O": 8}).sizes.tolist()) == {11}
    assert set(ask(checkpoint, {"atoms_C": 3, "atoms_O": 2}, sizes=(5,)).sizes.tolist()) == {5}
    assert ask(checkpoint, {"atoms_C": 7}).sizes.min() >= 7
    start = ask(checkpoint, {"atoms_C": (1, 3), "atoms_O": (2, 4)})
    assert np.array_equal(start.sizes, start.values["atoms_C"] + start.values["atoms_O"])


@pytest.mark.parametrize(
    ("wishes", "sizes", "sentence"),
    [
        ({"gpa": 1}, None, "conditional is not conditioned on 'gpa'; accepted are alpha, gap, mu, atoms_C, atoms_O."),
        ({"atoms_C": 2.5}, None, "target atoms_C must be a number of atoms, not 2.5."),
        ({"atoms_C": (1.2, 1.8)}, None, "target atoms_C must be a number of atoms, not 1.2 to 1.8."),
        ({"atoms_C": -1}, None, "target atoms_C must be a number of atoms, not -1."),
        ({"atoms_C": 3, "atoms_O": 2}, (6,), "the targets ask for 5 atoms by element, but the size is to be 6."),
        ({"atoms_C": 7}, (6,), "the targets ask for 7 atoms by element, but the size is to be 6."),
        ({"atoms_C": 2, "atoms_O": 1}, SizeRange(4, 6), "ask for 3 atoms by element, but the size is to be 4 to 6."),
        ({"atoms_C": 0, "atoms_O": 0}, None, "ask for 0 atoms by element, but the size is to be 1 to 512."),
        ({"atoms_C": 600}, None, "ask for 600 atoms by element, but the size is to be 1 to 512."),
        (Targets((), ((),), (5,)), (5,), "numbers of atoms are given twice, as sizes and in the column num_atoms"),
        (Targets((), ((),), (600,)), None, "sizes must be between 1 and 512 atoms, not [600]."),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(checkpoint, wishes, sizes, sentence):
    with pytest.raises(ConfigError) as error:
        ask(checkpoint, wishes, sizes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unconditional_model_takes_no_targets(make_checkpoint):
    with pytest.raises(
        TargetError, match=r"checkpoint was trained without properties .*, so it takes no targets but formulas\."
    ):
        ask(load_checkpoint(make_checkpoint()), {"gap": 1})


def test_targets_outside_of_training_are_told(checkpoint):
    start = ask(checkpoint, {"alpha": 100, "mu": 2, "gap": -5}, ids=torch.arange(2))
    first, second = start.warnings[0].split("; ")
    assert first.startswith("alpha=100 is outside the training range ")
    assert first.endswith(" bohr³")
    assert second.startswith("gap=-5 is outside the training range ")
    assert not ask(checkpoint, {"alpha": 30, "mu": 2}).warnings[0]
    table = Targets(("alpha",), (((30, 30),), ((100, 100),), ((40, 90),)))
    (sentence,) = warnings_before(checkpoint, table)
    assert sentence.startswith("target alpha=100 is outside the training range ")
    assert sentence.endswith(" bohr³ (2 of 3 rows).")
    assert warnings_before(checkpoint, None) == []


def test_a_model_with_dummies_is_told_and_decides_its_size(make_conditional):
    checkpoint = load_checkpoint(make_conditional({"diffusion.size_mode": "dummy"}))
    start = ask(checkpoint, {"alpha": 20, "atoms_C": 2, "atoms_O": 2})
    assert set(start.sizes.tolist()) == {9}
    assert conditioned(start.context).all()
    with pytest.raises(TargetError, match="ask for 10 atoms by element, but the size is to be 1 to 9"):
        ask(checkpoint, {"atoms_C": 10})


def test_the_largest_molecule_of_a_request_counts_its_elements(checkpoint):
    request = Request(5, checkpoint.config.sampler, targets=Targets.of({"atoms_C": 20, "atoms_O": 10}))
    assert of_largest(checkpoint, request).sizes == (30,)
    assert of_largest(checkpoint, replace(request, targets=Targets.of({"mu": 20}))).sizes == (9,)
    assert of_largest(checkpoint, replace(request, targets=Targets((), ((),), (40,)))).sizes == (40,)
