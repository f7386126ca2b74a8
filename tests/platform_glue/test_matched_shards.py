"""Shards of a table of wishes, each matched within itself: what is made of the table, and what is said of it."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ead_platform.generation import making
from ead_platform.generation import plan as planning
from ead_platform.generation.deliveries import rounds
from ead_platform.generation.estimate import estimate
from ead_platform.generation.making import ShardMaker
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole
from ead_platform.generation.shards import ShardFolder
from ead_platform.generation.unmet_rows import UNMET_FILE

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.frames import read_frame
from ead_core.data.shard_folders import INDEX
from ead_core.data.targets import Targets
from ead_core.data.wish_tables import WishTable
from ead_core.errors import ConfigError, DataError, OutputError
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import CRITERIA, Acceptance
from ead_core.prediction.calibration import Errors
from ead_core.sampling import delivery, matching, wishes
from ead_core.sampling.matching import match
from ead_core.sampling.order import MatchOrder
from ead_core.sampling.passport_files import stored_molecule
from ead_core.sampling.reproduction import reproduce

from .. import planted
from ..in_this_process import in_this_process
from ..planted import gap

QUICK = {"policy": "synchronous", "steps": 3, "repair_attempts": 0}
WANTED = Targets.of_columns({"gap": [4000, 4500, 5000, (5200, 5800), 6000, 7000]})
SIZE, ATTEMPTS = 4, 24
BAD = "its first atom is on the right"


@pytest.fixture(scope="module", autouse=True)
def _in_this_process():
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def model(conditional_checkpoint):
    return load_checkpoint(conditional_checkpoint)


def judged(chunk, acceptance):
    """About half are refused, and no molecule is the same as another."""
    right = chunk.molecules.positions[chunk.molecules.offsets[:-1], 0] > 0
    keys = [f"key {number}" for number in chunk.molecules.properties["id"].tolist()]
    return [Verdict(BAD if bad else "", key) for bad, key in zip(right.tolist(), keys, strict=True)]


def repeated(jury, molecules, acceptance):
    """In the end, every shard turns out to hold the same molecules."""
    return [Verdict("", f"key {place}") for place in range(len(molecules))]


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    """A selector that measures."""
    selector = planted.selector(Errors(1.0, 1, 1, 1, 1), 1000.0)
    for module in (matching, planning):
        monkeypatch.setattr(module, "selector_of", lambda *_: selector)
    monkeypatch.setattr(wishes, "predict", lambda predictor, config, statistics, some: {"gap": gap(some)})
    monkeypatch.setattr(delivery, "judge", judged)
    monkeypatch.setattr(making.Jury, "verdicts", repeated)


@pytest.fixture
def plan(model):
    order = MatchOrder(Acceptance.parse("valid"))
    return GenerationPlan(model, 6, SIZE, 3, None, SamplerConfig(**QUICK), 1, 0, WANTED, order)


def work(path, plan, most=10**6, order=list):
    """A run that makes at most so many shards, then is killed; the tasks in an order of its own."""
    folder = ShardFolder(path, plan.question(), plan.asked)
    console, maker = GenerationConsole(folder, plan), ShardMaker(plan)
    with folder.opened():
        for tasks in rounds(folder, plan, False):
            for task in order(tasks)[:most]:
                console.finished(task, maker.make(task, None))
            most -= len(tasks)
            if most < 0:
                break
    return folder


def contents(path):
    return {file.name: file.read_bytes() for file in path.glob("shard-*.parquet")}


def test_one_shard_is_the_match_of_its_table(plan, model, tmp_path):
    folder = work(tmp_path / "out", replace(plan, shard_size=6))
    molecules, _, ledger = match(model, WANTED, 3, accept="valid", **QUICK)
    (part,) = folder.parts()
    assert np.array_equal(part.positions, molecules.positions)
    passport = {"smiles", "inchikey", "molblock", "repaired", "checks", "seed", "model", "fingerprint"}
    predicted = {"predicted_gap_low", "predicted_gap_high", "predicted_by"}
    assert set(part.properties) == {*molecules.properties, *passport, *predicted} - {"seconds"}
    for name in ("id", "wish", "nfe", "predicted_gap", "distance", "target_gap_low", "best_of"):
        assert np.array_equal(part.properties[name], molecules.properties[name], equal_nan=name != "id")
    own, alone = ({**one.to_json(), "seconds": 0} for one in (folder.ledger, ledger))
    assert own.pop("in_range") is None
    assert alone.pop("repaired") == 0
    assert own == alone


def test_a_molecule_of_a_matched_shard_is_made_again_from_its_shard(plan, model, tmp_path):
    """By what it was made for, which need not be what it was matched with."""
    folder = work(tmp_path / "out", plan)
    table = read_frame(folder.place.folder)
    other = table[table["made_for_gap"] != table["target_gap_low"]].iloc[-1]
    shard = folder.place.folder / f"shard-{(other['wish'] - 1) // SIZE:05d}.parquet"
    stored = stored_molecule(shard, int(other["id"]))
    assert reproduce(model, stored).same
    assert not reproduce(model, stored._replace(passport=stored.passport.model_copy(update={"seed": 4}))).same
    untold = {name: values for name, values in stored.molecule.properties.items() if not name.startswith("made_for")}
    early = stored._replace(molecule=replace(stored.molecule, properties=untold))
    with pytest.raises(DataError, match="the file does not say for which it was made, as shards of earlier"):
        reproduce(model, early)


KEYED = WishTable(Targets.of_columns({"gap": [(0.0, 1e9), 4500.0, (-2.0, -1.0)]}), (3, 1, 2), ("any", "near", "never"))


@pytest.fixture
def keyed(plan):
    """Three rows with six wishes, of which the last two nobody can meet, in two shards."""
    return replace(plan, targets=KEYED.targets, table=KEYED)


def rows_of(path):
    return pd.read_csv(path / UNMET_FILE)


def test_answers_carry_the_keys_of_their_rows_and_what_is_not_met_is_listed(keyed, tmp_path, capsys):
    folder = work(tmp_path / "out", keyed)
    table, unmet = read_frame(tmp_path / "out"), rows_of(tmp_path / "out")
    assert table["key"].tolist() == [("any", "near", "never")[wish - 1] for wish in table["wish"]]
    asked = dict(zip(KEYED.keys, KEYED.counts, strict=True))
    met = {key: int(table[table["key"] == key]["met"].sum()) for key in asked}
    told = dict(zip(unmet["key"], unmet[["asked", "met", "unmet"]].to_numpy().tolist(), strict=True))
    assert told["never"] == [2, 0, 2]
    assert told == {key: [asked[key], met[key], asked[key] - met[key]] for key in asked if met[key] < asked[key]}
    assert (folder.ledger.asked, folder.ledger.met) == (6, sum(met.values()))
    assert ShardFolder(tmp_path / "out", keyed.question(), 6).ledger.delivered == len(table)
    never, own = unmet[unmet["key"] == "never"].iloc[0], table[table["key"] == "never"]
    assert never["best_distance"] == pytest.approx(own["distance"].min())
    assert never["best_id"] == own.loc[own["distance"].idxmin(), "id"]
    GenerationConsole(folder, keyed).summary()
    assert "row 3 ('never'): 0 of 2 met, because the molecule that came nearest is outside" in capsys.readouterr().out


def test_what_is_not_met_is_the_same_after_a_kill_and_in_any_order(keyed, tmp_path):
    unique = replace(keyed, order=MatchOrder(Acceptance.parse("valid & unique")))
    work(tmp_path / "whole", unique)
    work(tmp_path / "killed", unique, most=1, order=lambda tasks: tasks[::-1])
    work(tmp_path / "killed", unique)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    unmet = rows_of(tmp_path / "whole")
    assert unmet.equals(rows_of(tmp_path / "killed"))
    table = read_frame(tmp_path / "whole")
    for _, row in unmet.iterrows():
        assert row["met"] == table[table["wish"] == row["row"]]["met"].sum()
    lost = ShardFolder(tmp_path / "whole", unique.question(), 6).ledger.refused[CRITERIA["unique"].refusal]
    assert lost > 0, "a wish goes without since an earlier shard has its molecule"
    assert table["met"].sum() == 6 - unmet["unmet"].sum()


def test_a_folder_belongs_to_the_counts_and_keys_of_its_table(keyed, tmp_path):
    work(tmp_path / "out", keyed)
    for table in (replace(KEYED, counts=(1, 3, 2)), replace(KEYED, keys=("a", "b", "c"))):
        with pytest.raises(OutputError, match=r"holds molecules with rows=.*; choose another"):
            ShardFolder(tmp_path / "out", replace(keyed, table=table).question())


def test_every_shard_has_its_wishes_and_its_attempts(plan, tmp_path, capsys):
    folder = work(tmp_path / "out", plan)
    table, ledger = read_frame(folder.place.folder), folder.ledger
    assert set(table["wish"]) <= set(range(1, 7))
    assert table["wish"].is_unique
    assert table["id"].is_unique
    assert (table["id"] // (4 * SIZE) == (table["wish"] - 1) // SIZE).all()
    assert (ledger.asked, ledger.attempts, ledger.delivered) == (6, ATTEMPTS, len(table))
    assert ledger.attempts == ledger.delivered + sum(ledger.refused.values())
    assert ledger.calls == ATTEMPTS * 4
    assert not ledger.stopped
    GenerationConsole(folder, plan).summary()
    told = capsys.readouterr().out.replace("\n", " ")
    assert f"{len(table)} of 6 wishes got a molecule; distance from what was asked" in told
    assert f"{table['distance'].mean():.2g} spreads on average" in told
    assert "(4 network calls" in told
    assert "per attempt; " in told


def test_neither_the_order_of_actors_nor_a_kill_changes_a_byte(plan, tmp_path):
    work(tmp_path / "whole", plan)
    work(tmp_path / "reversed", plan, order=lambda tasks: tasks[::-1])
    killed = work(tmp_path / "killed", plan, most=1, order=lambda tasks: tasks[::-1])
    assert killed.ledger.stopped
    work(tmp_path / "killed", plan)
    assert contents(tmp_path / "reversed") == contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_wish_goes_without_if_its_molecule_is_one_of_an_earlier_shard(plan, tmp_path):
    free = work(tmp_path / "free", plan)
    unique = work(tmp_path / "unique", replace(plan, order=MatchOrder(Acceptance.parse("valid & unique"))))
    keys = read_frame(free.place.folder)["inchikey"]
    twice = int(keys.duplicated().sum())
    assert twice > 0
    assert unique.ledger.refused[CRITERIA["unique"].refusal] == twice
    assert unique.ledger.delivered == len(keys) - twice == len(read_frame(unique.place.folder))
    assert unique.ledger.attempts == unique.ledger.delivered + sum(unique.ledger.refused.values())


def test_a_lost_index_is_rebuilt_with_its_ledger(plan, tmp_path):
    wanted = replace(plan, targets=Targets.of_columns({"atoms_C": [(0, 6)] * 6}))
    before = work(tmp_path / "out", wanted).ledger
    assert before.attempts < ATTEMPTS, "no wish was left for the last attempts"
    (tmp_path / "out" / INDEX).unlink()
    after = work(tmp_path / "out", wanted).ledger
    assert after.model_copy(update={"seconds": before.seconds}) == before


def test_the_price_is_that_of_all_attempts(plan):
    found = estimate(plan)
    assert (found.probe, found.attempts, found.until, found.calls) == (ATTEMPTS, ATTEMPTS, None, 4)
    assert 0 < found.accepted <= 6
    many = replace(plan, num=6000, targets=WANTED.each(1000))
    assert (estimate(many).probe, estimate(many).attempts) == (64, ATTEMPTS * 1000)


def test_a_folder_belongs_to_its_attempts(plan, tmp_path):
    work(tmp_path / "out", plan)
    more = replace(plan, order=replace(plan.order, max_attempts=30))
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    with pytest.raises(OutputError, match="holds molecules with match=24, not 30; choose another"):
        ShardFolder(tmp_path / "copy", more.question())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"order": MatchOrder(max_attempts=5)}, r"--max-attempts must be at least 6, one per wish, not 5\."),
        (
            {"order": MatchOrder(Acceptance.parse("valid & novel=known.sdf"))},
            "--match takes no novel=FILE, which every shard would have to read; leave it out",
        ),
        ({"targets": Targets.of_columns({"mu": [1.0] * 6})}, "is not conditioned on 'mu'"),
    ],
)
def test_what_no_shard_could_do_is_refused_before(plan, change, sentence):
    plan.check()
    with pytest.raises(ConfigError, match=sentence):
        replace(plan, **change).check()
