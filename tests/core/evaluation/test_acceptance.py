"""What is accepted: how criteria are written, what each refuses, and in which order."""

from pathlib import Path

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.evaluation.acceptance import accepted, judge
from ead_core.evaluation.chunk import Chunk
from ead_core.evaluation.criteria import CRITERIA, Acceptance


def verdicts(molecules, text):
    everywhere = np.ones(len(molecules), dtype=bool)
    return judge(Chunk(0, molecules, everywhere), Acceptance.parse(text))


def refusals(molecules, text):
    return [verdict.refusal for verdict in verdicts(molecules, text)]


@pytest.fixture
def mixed(by_hand):
    """Methane; methane with a hydrogen pulled away (a radical and an atom); two waters; and nonsense."""
    charges, positions = by_hand["methane"]
    torn = positions.copy()
    torn[1] *= 5
    water, places = by_hand["water"]
    broken = positions.copy()
    broken[0, 0] = np.nan
    pair = np.concatenate([water, water]), np.concatenate([places, places + 6])
    kinds = (charges, positions), (charges, torn), pair, (charges, broken), (charges[:4], positions[:4])
    return MoleculeSet.from_lists(*zip(*kinds, strict=True))


@pytest.mark.parametrize(
    ("criterion", "refused"),
    [
        ("finite", [False, False, False, True, False]),
        ("even_electrons", [False, False, False, True, True]),
        ("connected", [False, True, True, True, False]),
        ("stable", [False, True, False, True, True]),
        ("valid", [False, True, True, True, True]),
    ],
)
def test_each_criterion_refuses_what_it_says(mixed, criterion, refused):
    expected = [CRITERIA[criterion].refusal if bad else "" for bad in refused]
    expected[3] = CRITERIA["finite"].refusal  # whatever else it is
    assert refusals(mixed, criterion) == expected


def test_the_first_criterion_that_is_not_met_is_the_reason(mixed):
    expected = ["", "in several pieces", "in several pieces", "not finite", "not stable"]
    assert refusals(mixed, "valid, stable & connected & finite") == expected


def test_costly_criteria_compare_with_what_the_evaluation_measures(by_hand):
    charges, positions = by_hand["formaldehyde"]
    molecules = MoleculeSet.from_lists([charges] * 2, [positions, 1.3 * positions])  # 107 kcal/mol
    assert refusals(molecules, "strain<100") == ["", "too strained"]
    assert refusals(molecules, "strain<110") == ["", ""]
    assert refusals(molecules, "plausible") == ["", "not plausible"]
    assert refusals(molecules, "plausible & strain<100") == ["", "not plausible"]


def test_each_protocol_has_its_own_criterion(make_set):
    """Benzene is real, but its bonds lie between those of the published table."""
    molecules = make_set("CCO", "c1ccccc1")
    assert accepted(molecules, Acceptance.parse("valid")).tolist() == [True, True]
    assert accepted(molecules, Acceptance.parse("stable")).tolist() == [True, False]
    assert accepted(molecules.select([]), Acceptance.parse("valid")).tolist() == []


def test_verdicts_say_which_molecule_it_is(mixed):
    keys = [verdict.inchikey for verdict in verdicts(mixed, "finite")]
    assert keys[0] == "VNWKTOKETHGBQD-UHFFFAOYSA-N"
    assert keys[3] is None


def test_criteria_are_read_as_they_are_written():
    read = Acceptance.parse("unique,valid & strain < 40 & novel=some/file.npz")
    assert str(read) == "valid & strain<40 & novel=some/file.npz & unique"
    assert read.known == Path("some/file.npz")
    assert Acceptance.parse(str(read)) == read
    assert Acceptance.parse(["unique & valid", "strain<40", "novel=some/file.npz"]) == read


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pretty", "'pretty' is no criterion of acceptance; there are finite, even_electrons, connected, stable,"),
        ("valid | unique", "'valid | unique' is no criterion"),
        ("strain", "'strain' must be written as strain<KCAL"),
        ("strain=40", "'strain=40' must be written as strain<KCAL"),
        ("strain<much", "strain<KCAL takes a number above 0, not 'much'"),
        ("strain<-1", "strain<KCAL takes a number above 0, not '-1'"),
        ("strain<nan", "strain<KCAL takes a number above 0, not 'nan'"),
        ("valid<3", "'valid<3' must be written as valid"),
        ("strain<5 & strain<50", "the criterion strain is given twice; give it once."),
        ("novel=a & valid & novel=b", "the criterion novel is given twice; give it once."),
        ("novel", "'novel' must be written as novel=FILE"),
        (" & ", "there is no criterion of acceptance"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, sentence):
    with pytest.raises(ConfigError, match=sentence.replace("|", r"\|")):
        Acceptance.parse(text)


def test_the_page_about_deliveries_has_every_criterion():
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "deliver.md").read_text(encoding="utf-8")
    told = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert told == [f"{name}{criterion.takes}" for name, criterion in CRITERIA.items()]
