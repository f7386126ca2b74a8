"""The judge beside GFN2-xTB: the statistics in worlds where the truth is known, what is computed, and what is kept."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from ead_core.data.properties import from_border
from ead_core.data.store import MoleculeSet
from ead_core.prediction.calibration import Errors

FOLDER = Path(__file__).parents[1] / "benchmarks"
WATER = np.array([8, 1, 1]), np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])
SCALES = {"homo": 300.0, "lumo": 300.0, "gap": 300.0, "mu": 0.5}  # of the errors of the second method


@pytest.fixture(scope="module", autouse=True)
def programs():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield patch


def errors(draws, count, factor=1.0):
    """Of a first method, times a factor, and of a second that errs three times as much; a part is common to both."""
    common = draws.normal(size=count)
    return np.column_stack([factor * (draws.normal(size=count) + 0.5 * common), 3 * draws.normal(size=count) + common])


@pytest.mark.parametrize("factor", [1.0, 2.0, 4.0])
def test_a_planted_factor_is_found_within_its_interval(factor):
    from judge_xtb_statistics import resampled, widening

    draws = np.random.default_rng(1)
    known, (first, second) = errors(draws, 4000), errors(draws, 4000, factor).T
    found, (low, high) = widening(known, first - second), resampled(widening, known, first - second, draws=50)
    assert found == pytest.approx(factor, rel=0.25)
    assert low < factor < high


def test_what_differs_by_less_than_the_second_method_errs_has_the_least_factor():
    from judge_xtb_statistics import widening

    known = errors(np.random.default_rng(2), 500)
    assert widening(known, np.zeros(3)) < 0.5


def test_rank_correlations_are_spearmans():
    from judge_xtb_statistics import rank_correlation

    pairs = np.random.default_rng(3).integers(6, size=(40, 2)).astype(float)  # with ties
    assert rank_correlation(pairs) == pytest.approx(spearmanr(*pairs.T).statistic)


def test_values_are_shuffled_within_their_groups():
    from judge_xtb_statistics import shuffled

    groups = np.repeat([3, 5], 50)
    found = shuffled(np.arange(100.0), groups)
    assert (found != np.arange(100)).mean() > 0.9
    assert sorted(found[:50]) == list(range(50))


def group(draws, count, wrong=1.0, asked=None, relaxed=0):
    """Molecules of water with labels, a judge whose errors are `wrong` times as large, a selector, and GFN2-xTB.

    The latter's values of another scale and zero must be put right by the correction.
    """
    from judge_xtb_molecules import PROPERTIES, Group

    labels = {name: draws.normal(size=count) * 4 * SCALES[name] for name in PROPERTIES}
    labels["gap"] = labels["lumo"] - labels["homo"]
    said = {
        f"{who}_{name}": labels[name] + factor * draws.normal(size=count) * SCALES[name] / 3
        for who, factor in {"judge": wrong, "selector": 1}.items()
        for name in PROPERTIES
    }
    xtb = {name: 2 * (labels[name] + draws.normal(size=count) * SCALES[name]) + 100 for name in ("homo", "lumo", "mu")}
    xtb["gap"] = xtb["lumo"] - xtb["homo"]
    xtb["features"] = np.column_stack([xtb["homo"], xtb["lumo"], xtb["mu"], np.ones(count)])
    properties = {**{name: from_border(name, values) for name, values in labels.items()}, **said}
    if asked:
        properties |= {"asked": np.resize(PROPERTIES, count), "target": np.zeros(count)}
        properties["target"] = np.choose(np.arange(count) % 4, [said[f"judge_{name}"] for name in PROPERTIES])
    molecules = MoleculeSet.from_lists([WATER[0]] * count, [WATER[1]] * count, properties)
    places = np.arange(relaxed)
    relaxation = {name: values[:relaxed] for name, values in {**xtb, "strain": xtb["mu"], "rmsd": xtb["mu"]}.items()}
    return Group(molecules, xtb, molecules.select(places), {"place": places.astype(float), **relaxation})


@pytest.fixture(scope="module")
def study(programs):
    """Generated and chosen molecules on which the predictor errs three times as much; intervals are not computed."""
    import judge_xtb_report
    import judge_xtb_study

    def said(predictor, config, statistics, molecules):
        return {name: molecules.properties[f"{predictor}_{name}"] for name in SCALES}

    programs.setattr(judge_xtb_study, "predict", said)
    programs.setattr(judge_xtb_report, "resampled", lambda *_, **__: (0.0, 9.0))
    draws = np.random.default_rng(4)
    groups = {
        "fit": group(draws, 1000),
        "real": group(draws, 2000, relaxed=1000),
        "distorted": group(draws, 2000, wrong=6),
        "generated": group(draws, 2000, wrong=3, relaxed=1000),
        "chosen": group(draws, 4000, wrong=3, asked=True),
    }
    who = {name: SimpleNamespace(predictor=name, config=None, statistics=None) for name in ("judge", "selector")}
    return judge_xtb_study.Study(groups, who)


def cells(text, row):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row}")]
    return [float(cell.split("(")[0].strip(" ×")) for cell in line.split("|")[2:-1]]


@pytest.mark.parametrize("name", SCALES)
def test_the_tables_tell_what_was_planted(study, name):
    from judge_xtb_report import disagreement, factors, ranks, reached, spreads

    *made, distorted, doubled = cells(factors(study), f"judge, {name}")
    assert made == pytest.approx([3] * 3, rel=0.3)
    assert distorted == pytest.approx(6, rel=0.3)
    assert doubled == pytest.approx(2, rel=0.4)
    known, other, *_ = cells(spreads(study), f"judge, {name}")
    spread = SCALES[name] * (2**0.5 if name == "gap" else 1)
    assert known == pytest.approx(SCALES[name] / 3 * (2 / np.pi) ** 0.5, rel=0.1)
    assert other == pytest.approx(spread * (2 / np.pi) ** 0.5, rel=0.15)
    label, real, generated, apart, _, mixed = cells(ranks(study, "judge"), name)
    assert label > real > generated > 0.8
    assert apart == pytest.approx(generated - real, abs=0.01)
    assert abs(mixed) < 0.1
    _, *apart = cells(disagreement(study, "selector", "judge"), name)
    assert apart == pytest.approx([5**0.5] * 2, rel=0.15)
    *_, ratio = cells(reached(study, "selector", "judge"), name)
    assert ratio > 1.1, "the targets are what the predictor says, which errs more than on real molecules"


def test_the_factor_is_kept_in_the_calibration(study):
    from judge_xtb_report import calibrated

    study.predictors["judge"].calibration = dict.fromkeys([*SCALES, "alpha"], Errors(1, 9, 3, 9, 0.95))
    found = calibrated(study, "judge", "a calculation")
    assert found["mu"].widening == pytest.approx(3, rel=0.3)
    assert found["mu"].generated.origin == "a calculation"
    assert found["alpha"].widening == 1


def test_everything_is_in_the_table_and_in_the_picture(study, tmp_path):
    from judge_xtb_report import draw, moved
    from judge_xtb_study import rows_of

    rows = rows_of(study)
    assert {len(column) for column in rows.values()} == {11_000}
    assert np.isnan(rows["label_gap"][rows["group"] == "generated"]).all()
    assert "1000 molecules lose" in moved(study, "judge")
    draw(study, "judge", tmp_path / "judge.png")
    assert (tmp_path / "judge.png").stat().st_size > 10_000


def test_rows_are_kept_and_half_a_line_is_done_again(tmp_path):
    from judge_xtb_molecules import kept_rows

    asked = []

    def row_of(place):
        asked.append(place)
        return {"square": place**2}

    path = tmp_path / "rows.jsonl"
    kept_rows(path, 3, row_of)
    path.write_text(path.read_text()[:-4])
    assert kept_rows(path, 5, row_of) == [{"square": place**2} for place in range(5)]
    assert asked == [0, 1, 2, 2, 3, 4]
    assert kept_rows(path, 2, row_of) == [{"square": 0}, {"square": 1}]


def test_gfn2_knows_water():
    """Its dipole is known from tblite's manual; the ionisation energy is 12.6 eV, and the lowest orbital is unbound."""
    pytest.importorskip("tblite")
    from judge_xtb_molecules import single_point

    found = single_point(*WATER)
    assert found["mu"] == pytest.approx(2.29, abs=0.1)
    assert found["homo"] == pytest.approx(-12_600, abs=1500)
    assert found["lumo"] > 0
    assert found["gap"] == pytest.approx(found["lumo"] - found["homo"])


def test_gfn2_knows_that_carbon_monoxide_has_hardly_a_dipole():
    pytest.importorskip("tblite")
    from judge_xtb_molecules import single_point

    found = single_point(np.array([6, 8]), np.array([[0, 0, 0], [0, 0, 1.128]]))
    assert 0 < found["mu"] < 1
    assert found["homo"] == pytest.approx(-14_000, abs=2000)


def test_a_relaxed_molecule_is_at_its_minimum_and_keeps_what_it_is():
    pytest.importorskip("tblite")
    from judge_xtb_molecules import relaxation

    numbers, positions = WATER
    stretched = positions * 1.1
    found = relaxation(numbers, stretched)
    bond = np.linalg.norm(np.subtract(found["positions"][1], found["positions"][0]))
    assert bond == pytest.approx(0.96, abs=0.02)
    assert found["strain"] > 1
    assert relaxation(numbers, positions * 4) == {}, "three atoms are no molecule"
