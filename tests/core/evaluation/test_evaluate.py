"""From files to a card: every attempt counted, figures by independent routes, and runs that go on where they were."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ead_core.data.formats import write_molecules
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import DataError
from ead_core.evaluation import run
from ead_core.evaluation.card import Card
from ead_core.evaluation.chunk import Chunk, Measures
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.evaluate import evaluate, evaluate_files
from ead_core.evaluation.measure import measure_chunk, stages_of
from ead_core.evaluation.parts import DEFAULT_PARTS
from ead_core.evaluation.published import evaluate_published, training_smiles
from ead_core.evaluation.reference import load_known, load_reference
from ead_core.evaluation.run import EvaluationPlan, measure_files
from ead_core.evaluation.table import SCHEMA, TABLE
from ead_core.evaluation.tally import Tally

SMILES = ("C", "O", "CCO", "c1ccncc1", "CC(=O)O", "CCO", "N#CC=O", "C1CC1")
QUICK = EvaluationPlan((), 0, 1)


@pytest.fixture(scope="module")
def mixture(make_set):
    """Eight good molecules, one of them twice, and four bad ones: torn, exploded, one atom, on top of each other."""
    good = make_set(*SMILES)
    numbers, positions = good.molecule(3)
    torn = positions + np.where(np.arange(len(numbers))[:, None] < 4, 0, 30)
    bad = MoleculeSet.from_lists(
        [numbers, numbers, np.array([6]), numbers],
        [torn, 3 * positions, np.zeros((1, 3)), 0 * positions],
    )
    both = MoleculeSet.concatenate([good, bad])
    costs = {"id": np.arange(12), "nfe": np.full(12, 51), "seconds": np.full(12, 0.5)}
    return MoleculeSet(both.num_atoms, both.charges, both.positions, costs)


@pytest.fixture(scope="module")
def card(mixture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    save_npz(mixture, folder / "mixture.npz")
    return evaluate(folder / "mixture.npz", "qm9", out=folder / "out", plan=EvaluationPlan(workers=1)), folder / "out"


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (np.array([1.0, np.nan]), [1, None]),
        (np.array([1.5, 2.0]), [None, 2]),
        (np.array(["007", "ZINC1"]), [None, None]),
        (np.array([True, False]), [None, None]),
        (np.array([2**64 - 1, 5], dtype=np.uint64), [None, 5]),
        (np.ones((2, 3)), [None, None]),
        (np.array([3, 4], dtype=np.int8), [3, 4]),
    ],
)
def test_what_does_not_fit_the_table_is_unknown(make_set, ids, kept):
    texts = {"name": np.array([1.0, 2.5]), "molecule": np.array([7, 8]), "seconds": np.array(["3 s", "2"])}
    molecules = make_set("O", "C", id=ids, seed=ids, index=ids, **texts, formal_charge=ids if ids.ndim > 1 else [0, 0])
    rows = measure_chunk(Chunk(0, molecules, np.ones(2, dtype=bool)), Measures(frozenset(), 60)).rows
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert all(table[name].to_pylist() == kept for name in ("id", "seed", "index"))
    assert [table[name].to_pylist() for name in ("name", "molecule", "seconds")] == [
        ["1", "2.5"],
        ["7", "8"],
        [None] * 2,
    ]


def test_published_figures_are_those_of_the_published_protocol(card, mixture):
    flat, expected = card[0].to_json(), evaluate_published(mixture).card.to_json()
    assert card[0].sections["published"] == evaluate_published(mixture).card.sections["published"]
    for name in ("num_molecules", "num_skipped", "novelty", "validity", "nfe_per_molecule", "seconds_per_molecule"):
        assert flat[name] == pytest.approx(expected[name]), name
    assert flat["intervals"] == {name: pytest.approx(pair) for name, pair in expected["intervals"].items()}


def test_strict_figures_count_attempts(card):
    strict = card[0].sections["strict"]
    assert strict["strict_validity"].value == 8 / 12
    assert strict["strict_unique"].value == 7 / 12  # ethanol twice
    assert all(figure.of == 12 for figure in strict.values())
    assert card[0].sections["plausibility"]["posebusters"].value == 8 / 12
    assert sum(card[0].failures.values()) == 12 - round(12 * strict["perceived"].value)


def test_cost_is_of_a_good_molecule(card):
    cost = card[0].sections["cost"]
    assert cost["nfe"].value == 51
    assert cost["seconds_per_good_molecule"].value == pytest.approx(0.5 * 12 / 7)


def test_the_card_comes_back_from_its_file_and_the_page_needs_no_network(card):
    found, folder = card
    back = Card.load(folder / "card.json")
    assert back.to_json() == json.loads((folder / "card.json").read_text()) == json.loads(json.dumps(found.to_json()))
    page = (folder / "card.html").read_text()
    assert "default-src 'none'" in page
    assert page.count('"block":') == 12
    assert "strictly valid: all of these" in page
    assert "strictly valid: all of these" in (folder / "card.md").read_text()
    assert "published protocol" in found.table().lower()


def test_the_table_has_a_row_per_attempt(card):
    table = pd.read_parquet(card[1] / TABLE)
    assert table.number.tolist() == list(range(12))
    assert table.record.tolist() == [f"mixture.npz, molecule {i}" for i in range(1, 13)]
    assert table.formula[2] == "C2H6O"
    assert table.smiles[3] == "c1ccncc1"
    assert table.published_smiles[3].count("[H]") == 5  # of another molecule: the distance table knows no aromatic ring
    assert table.rings[7] == 1
    assert table.strain[:8].max() < 0.1  # they were relaxed with the same force field


def test_unreadable_records_are_attempts_with_a_reason(make_set, tmp_path):
    write_molecules(make_set("CCO", "C"), tmp_path / "some.xyz")
    with (tmp_path / "some.xyz").open("a") as file:
        file.write("2\n\nC 0 0 0\nO nan 0 0\n3\n\nC 0 0 0\n")
    found = evaluate(tmp_path / "some.xyz", plan=QUICK)
    assert found.attempts == 4
    assert found.sections["published"]["validity"].value == 0.5
    assert len(found.failures) == 2
    assert all(reason.startswith("unreadable: ") for reason in found.failures)
    assert found.to_json()["num_skipped"] == 2


def test_an_interrupted_run_goes_on(make_set, tmp_path, monkeypatch):
    monkeypatch.setattr("ead_core.data.streams.batches.__defaults__", (3,))
    save_npz(make_set(*SMILES), tmp_path / "all.npz")
    source, measured = [tmp_path / "all.npz"], []

    def stop_after_one(done):
        measured.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_files(source, tmp_path / "out", QUICK, progress=stop_after_one)
    sent = []
    monkeypatch.setattr(run, "done_apart", lambda task, work, workers, stages: _spied(task, work, sent))
    tally = measure_files(source, tmp_path / "out", QUICK)
    assert sent == [3, 6]  # the first three are not measured again
    whole = measure_files(source, tmp_path / "whole", QUICK)
    assert (tally.sizes, tally.molecules) == (whole.sizes, 8)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / TABLE), pd.read_parquet(tmp_path / "whole" / TABLE)
    )
    assert not (tmp_path / "out" / "parts").exists()


def _spied(task, work, sent):
    """In this process, and keeping the first numbers of all chunks."""
    for origin, chunk in work:
        sent.append(chunk.first)
        yield origin, [run.Outcome(chunk, (task(chunk),))]


def test_stages_add_up_to_the_whole(mixture):
    measures = Measures(frozenset(DEFAULT_PARTS), 60.0)
    chunk = Chunk(3, mixture, np.arange(len(mixture)) % 2 == 0)
    whole, rows, tally = measure_chunk(chunk, measures), [{} for _ in range(len(chunk))], Tally()
    for stage in stages_of(measures).values():
        piece = stage(chunk)
        rows = [{**row, **more} for row, more in zip(rows, piece.rows, strict=True)]
        tally.add(piece.tally)
    assert rows == whole.rows
    for name in ("molecules", "perceived", "sizes", "elements", "valencies"):
        assert getattr(tally, name) == getattr(whole.tally, name), name
    np.testing.assert_equal(tally.shapes, whole.tally.shapes)


def test_a_molecule_that_fails_at_one_stage_keeps_its_other_measures(make_set, tmp_path, monkeypatch):
    def hangs_in_posebusters(task, work, workers, stages):
        for origin, chunk in work:
            results = tuple(stage(chunk) for name, stage in stages.items() if name != "posebusters")
            yield origin, [run.Outcome(chunk, results, "posebusters: it took too long")]

    save_npz(make_set("CCO"), tmp_path / "one.npz")
    monkeypatch.setattr(run, "done_apart", hangs_in_posebusters)
    found = evaluate(tmp_path / "one.npz", plan=EvaluationPlan(workers=1), out=tmp_path / "out")
    assert found.failures == {"posebusters: it took too long": 1}
    assert found.sections["strict"]["strict_validity"].value == 1
    assert found.sections["plausibility"]["strain"].known == 1
    assert found.sections["plausibility"]["posebusters"].value == 0  # not passed is not passed
    assert load_reference(str(tmp_path / "out")).molecules == 1


def test_the_published_protocol_can_be_had_alone(mixture, card, tmp_path):
    found = evaluate(mixture, plan=EvaluationPlan(("published",), workers=1))
    assert found.sections.keys() == {"published", "cost"}
    assert found.sections["published"] == card[0].sections["published"]
    assert not found.failures


def test_other_settings_start_afresh(make_set, tmp_path, monkeypatch):
    save_npz(make_set("C", "O"), tmp_path / "all.npz")
    sent = []
    monkeypatch.setattr(run, "done_apart", lambda task, work, workers, stages: _spied(task, work, sent))
    parts = run.Parts(tmp_path / "out" / "parts", {"of": "another run"})
    parts.add(0, [{"number": 0}], run.Tally())
    assert measure_files([tmp_path / "all.npz"], tmp_path / "out", QUICK).molecules == 2
    assert len(Columns(tmp_path / "out" / TABLE)) == 2


def test_known_molecules_and_references_are_kept_in_the_cache(make_set, tmp_path, monkeypatch):
    molecules = make_set("CCO", "c1ccncc1")
    save_npz(molecules, tmp_path / "train.npz")
    known = load_known(tmp_path / "train.npz", 1)
    assert known.smiles == training_smiles(molecules)
    monkeypatch.setattr("ead_core.evaluation.reference.measure_files", None)  # would fail if it were called
    assert load_known(tmp_path / "train.npz", 1) == known
    assert load_reference(str(tmp_path / "train.npz"), 1).molecules == 2
    found = evaluate_files([tmp_path / "train.npz"], tmp_path / "out", QUICK, known=known, report=False)
    assert found.sections["strict"]["strict_novel"].value == 0
    assert found.sections["published"]["novelty"].value == 0
    assert load_reference(str(tmp_path / "out")).molecules == 2
    assert load_reference(str(tmp_path / "out" / "tally.npz")).molecules == 2
    with pytest.raises(DataError, match="one of drugs, qm9"):
        load_reference("qm10")


def test_bundled_references_hold_the_real_data():
    qm9, drugs = load_reference("qm9"), load_reference("drugs")
    assert (qm9.molecules, drugs.molecules) == (120_000, 6985)
    assert qm9.perceived / qm9.molecules > 0.998
    assert set(qm9.elements) == {"H", "C", "N", "O"}
    assert {"F", "Cl", "Br", "I", "S", "P"} < set(drugs.elements)


def test_odd_molecules_are_counted_under_a_reason(embedded, tmp_path):
    numbers, positions = embedded("CCO")
    rng = np.random.default_rng(0)
    odd = [
        (np.full(500, 6), rng.uniform(0, 16, size=(500, 3))),
        (np.array([92, 9, 9, 9]), 2 * rng.normal(size=(4, 3))),
        (np.array([2, 18]), np.array([[0, 0, 0], [9, 9, 9]])),
        (numbers, np.full_like(positions, np.nan)),
        (np.array([119, 6]), np.array([[0, 0, 0], [1, 1, 1]])),
        (numbers, 1e6 * positions),
        (numbers, positions),
    ]
    save_npz(MoleculeSet.from_lists([z for z, _ in odd], [x for _, x in odd]), tmp_path / "odd.npz")
    found = evaluate(tmp_path / "odd.npz", "qm9")
    assert found.attempts == 7
    assert found.sections["strict"]["strict_validity"].value == 1 / 7
    assert sum(found.failures.values()) == 6
    assert sum(count for reason, count in found.failures.items() if reason.startswith("unreadable")) == 2


@pytest.fixture(scope="module")
def awkward(make_set, embedded):
    """Two ions, one of which does not say so; a radical, heavy atoms alone, a metal, and atoms on one spot; ethanol."""
    numbers, positions = embedded("CCO")
    heavy = numbers > 1
    ions = [embedded("C[NH3+]"), embedded("CC(=O)[O-]")]
    others = [
        (np.delete(numbers, 8), np.delete(positions, 8, axis=0)),
        (numbers[heavy], positions[heavy]),
        (np.array([78, 17, 17]), np.array([[0, 0, 0], [0, 0, 2.3], [0, 0, -2.3]])),
        (np.array([6, 6]), np.zeros((2, 3))),
        (numbers, positions),
    ]
    charges, places = zip(*ions, *others, strict=True)
    stated = np.array([1, np.nan, 0, np.nan, np.nan, np.nan, 0])
    return MoleculeSet.from_lists(charges, places, {"formal_charge": stated, "best_of": np.array([4] * 6 + [1])})


@pytest.mark.parametrize("reference", [None, "qm9"])
def test_what_is_no_neutral_organic_molecule_is_named(awkward, reference, tmp_path):
    found = evaluate(awkward, reference, out=tmp_path, plan=QUICK)
    strict = found.sections["strict"]
    assert strict["strict_validity"].value == pytest.approx(2 / 7)  # methylammonium and ethanol
    assert strict["strict_uncharged"].value == strict["ions"].value == pytest.approx(1 / 7)
    assert strict["even_electrons"].value == pytest.approx(5 / 7)
    open_shell = "an odd number of electrons, as of a radical, of an ion whose charge is not stated, or where hydrogens"
    told = "\n".join(found.failures)
    for sentence in (open_shell, "only heavy atoms", "not known for Pt", "(C1 and C2 are 0.00 Å apart)"):
        assert sentence in told
    document = (tmp_path / "card.md").read_text()
    for sentence in (
        "even number of electrons",
        "strictly valid and uncharged",
        "Note: 6 of 7 molecules were selected, each as the best of 4 candidates",
        "Note: of 1 molecules with Pt nothing that needs bonds was measured",
        "Note: 1 of 7 molecules have no hydrogen atoms",
        "Note: the published protocol has a rule of ours for Cl, Pt",
    ):
        assert sentence in document
    assert ("Note: the reference has no Cl, Pt" in document) == (reference is not None)
    table = pd.read_parquet(tmp_path / TABLE)
    assert table.net_charge.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert table.even_electrons.tolist() == [True, False, False, True, True, True, True]
    assert table.reason[5] == "two atoms are too close to each other (C1 and C2 are 0.00 Å apart)"


def test_like_reasons_count_together_under_an_example(awkward):
    """Radicals of different sizes, and overlaps at different distances."""
    pieces = [awkward.molecule(index) for index in (2, 2, 5)]
    charges = [pieces[0][0], np.delete(pieces[1][0], [7, 6]), pieces[2][0], pieces[2][0]]
    places = [pieces[0][1], np.delete(pieces[1][1], [7, 6], axis=0), pieces[2][1], [[0, 0, 0], [0, 0, 0.4]]]
    found = evaluate(MoleculeSet.from_lists(charges, places), plan=QUICK)
    assert sorted(found.failures.values()) == [2, 2]
    assert "no bonds: two atoms are too close to each other (e.g. C1 and C2 are 0.00 Å apart)" in found.failures
