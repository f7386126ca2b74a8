"""`ead repair` as a user meets it: who is mended, who stays, and every mistake in one sentence."""

import numpy as np
import pytest

from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.evaluation.acceptance import accepted


@pytest.fixture
def model(make_checkpoint):
    return make_checkpoint({"training.fragments": 0.2, "sampler.policy": "synchronous"}, name="tiny")


@pytest.fixture
def file(tmp_path):
    """Carbon suboxide, which is good; a chain of C–O, which is not; and NH, which the model does not know."""
    good = np.array([8, 6, 6, 6, 8]), np.array([[x, 0, 0] for x in (0, 1.16, 2.44, 3.72, 4.88)])
    chain = np.array([6, 8, 6, 8]), np.array([[1.43 * n, 0, 0] for n in range(4)])
    unknown = np.array([7, 1]), np.array([[0, 0, 0], [1.04, 0, 0]])
    charges, positions = map(list, zip(good, chain, unknown, strict=True))
    named = {"id": np.array([12, 5, 8]), "name": np.array(["a", "b", "c"])}
    molecules = MoleculeSet.from_lists(charges, positions, named)
    save_npz(molecules, tmp_path / "given.npz")
    return molecules


@pytest.fixture
def all_repairs_succeed(monkeypatch):
    """Nothing that an untrained model makes is valid; here only the file itself is measured."""
    measured = []

    def once(molecules, acceptance):
        measured.append(molecules)
        return accepted(molecules, acceptance) if len(measured) == 1 else np.ones(len(molecules), dtype=bool)

    monkeypatch.setattr("ead_core.evaluation.acceptance.accepted", once)


@pytest.mark.parametrize("extent", ["whole", "local"])
def test_who_is_broken_is_mended_and_all_others_stay(ead, model, file, all_repairs_succeed, tmp_path, extent):
    sizes = ("--model", "tiny", "--extent", extent, "--level", 0.5)
    code, _, told = ead("repair", "given.npz", *sizes, "--out", "out.npz", "--picture", "p.png")
    assert code == 0
    assert "note: 1 of 3 molecules cannot be repaired: tiny does not know H, N.\n" in told
    assert (
        "3 molecules → out.npz (2 broken: 1 mended, 1 left as they were; 3.7 network calls per molecule in all)" in told
    )
    assert "a selection with partial restarts" in told
    made = load_npz(tmp_path / "out.npz")
    assert made.properties["id"].tolist() == [12, 5, 8]
    assert made.properties["name"].tolist() == ["a", "b", "c"]
    assert made.properties["repaired"].tolist() == [0, 1, 0]
    assert made.properties["nfe"].tolist() == [0, 11, 0]
    for row in (0, 2):
        assert np.array_equal(made.molecule(row)[1], file.molecule(row)[1])
    assert not np.array_equal(made.molecule(1)[1], file.molecule(1)[1])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_all_means_those_that_are_good_as_well(ead, model, file, all_repairs_succeed, tmp_path):
    code, _, told = ead("repair", "given.npz", "--model", "tiny", "--all", "--level", 0.5, "--out", "out.npz")
    assert code == 0
    assert "2 broken: 1 mended, 1 left as they were, 1 others made anew" in told
    assert load_npz(tmp_path / "out.npz").properties["repaired"].tolist() == [1, 1, 0]


def test_what_cannot_be_mended_is_written_as_it_was(ead, model, file, tmp_path):
    code, _, told = ead(
        "repair", "given.npz", "--model", "tiny", "--rounds", 2, "--out", "out.sdf", "--picture", "p.svg"
    )
    assert code == 0
    assert "2 left as they were" in told
    assert "no molecule was mended, so that p.svg is not drawn" in told
    made = read_molecules(tmp_path / "out.sdf").molecules
    assert np.allclose(made.positions, file.positions, atol=1e-4)
    assert not (tmp_path / "p.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [([], 33), (["sampler.repair_attempts=2"], 22), (["sampler.repair_attempts=2", "--rounds", 1], 11)],
)
def test_the_option_counts_before_the_key_and_the_key_before_the_default(ead, model, file, tmp_path, arguments, calls):
    ead("repair", "given.npz", "--model", "tiny", "--level", 0.5, "--out", "out.npz", *arguments)
    assert load_npz(tmp_path / "out.npz").properties["nfe"].tolist() == [0, calls, 0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--level", 2], "sampler.repair_level: must be less than or equal to 1, not 2.0."),
        (["sampler.branches=2"], "sampler.branches brings molecules nearer to targets; it has no effect on a repair."),
        (["sampler.property_guidance=1"], "sampler.property_guidance brings molecules nearer to targets;"),
        (["--hops", 2], "sampler.repair_hops has no effect with sampler.repair_extent=whole"),
        (["--extent", "some"], "sampler.repair_extent: must be 'whole' or 'local', not 'some'."),
        (["--until", "unique"], "a molecule is repaired for what it is by itself; unique and novel depend on others."),
        (["--until", "nice"], "'nice' is no criterion of acceptance; there are finite,"),
        (["--out", "out.pdb"], "cannot write out.pdb"),
        (["--picture", "p.gif"], "the name must end in one of .png, .svg, .pdf, .html."),
        (["training.steps=3"], "only sampler.* keys can be changed when sampling, not 'training.steps'"),
    ],
)
def test_a_mistake_is_one_sentence(ead, model, file, tmp_path, arguments, sentence):
    code, _, told = ead("repair", "given.npz", "--model", "tiny", *arguments)
    assert code == 2
    assert sentence in told
    assert told.count("\n") == 1
    assert not (tmp_path / "mended.sdf").exists()


def test_a_model_that_cannot_keep_atoms_says_so(ead, make_checkpoint, file):
    make_checkpoint(name="plain")
    code, _, told = ead("repair", "given.npz", "--model", "plain", "--extent", "local")
    assert code == 2
    assert told.startswith("ead: plain was not trained to keep atoms (training.fragments)")
