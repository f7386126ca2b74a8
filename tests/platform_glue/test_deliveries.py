"""Shards of accepted molecules without a cluster: rounds, what is refused across shards, and the ledger of a folder."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ead_platform.generation import making
from ead_platform.generation import plan as planning
from ead_platform.generation.deliveries import rounds
from ead_platform.generation.making import ShardMaker
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole
from ead_platform.generation.shards import ShardFolder

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.formats import read_molecules
from ead_core.data.frames import read_frame
from ead_core.data.parquet import load_parquet
from ead_core.data.shard_folders import INDEX
from ead_core.data.targets import Targets
from ead_core.errors import EADError, OutputError
from ead_core.evaluation.criteria import CRITERIA, Acceptance
from ead_core.prediction.calibration import Errors
from ead_core.sampling import in_range, wishes
from ead_core.sampling.delivery import deliver
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request

from .. import planted
from ..in_this_process import in_this_process

SIZE, KINDS = 4, 13
SYNCHRONOUS = SamplerConfig(policy="synchronous", steps=4)
REFUSED = "not valid"


@pytest.fixture(scope="module", autouse=True)
def _in_this_process():
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def planned(checkpoint):
    def build(num, accept="valid & unique", until=None):
        order = Order(Acceptance.parse(accept), until, num if until else None)
        return GenerationPlan(checkpoint, num, SIZE, 1, (4,), SYNCHRONOUS, 1, 0, order=order)

    return build


@pytest.fixture
def judged(monkeypatch):
    """Every fifth molecule is refused, and the others are of thirteen kinds."""

    def accepted(molecules, acceptance):
        ids = molecules.properties["id"]
        keys = np.array([f"KIND-{number * number % KINDS}" for number in ids.tolist()])
        molecules = replace(molecules, properties={**molecules.properties, "inchikey": keys})
        return molecules.select(ids % 5 != 0), Counter({REFUSED: int((ids % 5 == 0).sum())})

    monkeypatch.setattr(making, "accepted", accepted)


def first_of_each_kind(attempts):
    """What is to be delivered of so many attempts of `judged`."""
    seen = {}
    for number in range(attempts):
        if number % 5:
            seen.setdefault(number * number % KINDS, number)
    return sorted(seen.values())


def work(path, plan, sdf=False, most=10**6, order=list):
    """A run that makes at most so many shards, then is killed; each round in an order of its own."""
    folder = ShardFolder(path, plan.question(), plan.asked)
    console, maker = GenerationConsole(folder, plan), ShardMaker(plan)
    with folder.opened():
        for tasks in rounds(folder, plan, sdf):
            for task in order(tasks)[:most]:
                console.finished(task, maker.make(task, None if task.sample else folder.content(task.shard)))
            most -= len(tasks)
            if most < 0:
                return folder
    return folder


def contents(path, ending=".parquet"):
    return {file.name: file.read_bytes() for file in path.glob(f"shard-*{ending}")}


def ids(path):
    files = sorted(path.glob("*.parquet"))
    return [number for file in files for number in load_parquet(file).molecules.properties["id"].tolist()]


def repaired(path):
    """Which of the delivered molecules were mended."""
    files = sorted(path.glob("*.parquet"))
    return [rounds > 0 for file in files for rounds in load_parquet(file).molecules.properties["repaired"].tolist()]


def test_a_folder_delivers_what_a_delivery_of_its_attempts_does(planned, checkpoint, tmp_path):
    plan = planned(6, "finite & even_electrons")
    folder = work(tmp_path / "out", plan)
    request = Request(6, SYNCHRONOUS, 1, sizes=(4,))
    molecules, ledger = deliver(checkpoint, request, plan.order)
    assert 0 < ledger.delivered < 6
    assert ids(folder.place.folder) == molecules.properties["id"].tolist()
    own, alone = folder.ledger.to_json(), ledger.to_json()
    assert alone.pop("repaired") == sum(repaired(folder.place.folder))
    assert {**own, "seconds": 0} == {**alone, "seconds": 0}
    stored = json.loads((folder.place.folder / INDEX).read_text())
    assert stored["ledger"] == own
    assert sum((Counter(shard.get("refused", {})) for shard in stored["shards"]), Counter()) == ledger.refused


@pytest.fixture
def ranged(conditional_checkpoint, monkeypatch):
    """A plan with a range, a selector that measures and errs by residuals that are known, and a judge beside it."""

    def measured(molecules):
        right = planted.from_second_to_first(molecules)[:, 0]
        return 6000 + 1000 * np.sin(right).astype(float)

    residuals = tuple(np.random.default_rng(0).normal(0, 400, 200))
    errors = Errors(0, 1, 0, 1, 1, tuple(np.linspace(5000, 7000, 200)), residuals, {"j": 50.0})
    selector = planted.selector(errors, 1.0)
    judge = SimpleNamespace(predictor=None, config=None, statistics=None, fingerprint="j")
    monkeypatch.setattr(in_range, "selector_of", lambda *_: selector)
    monkeypatch.setattr(planning, "selector_of", lambda *_: selector)
    monkeypatch.setattr(in_range, "independent_judge", lambda *_: judge)
    monkeypatch.setattr(wishes, "predict", lambda predictor, config, statistics, some: {"gap": measured(some)})
    monkeypatch.setattr(in_range, "predict", lambda *about: {"gap": 1.01 * measured(about[-1])})
    order, targets = Order(Acceptance.parse("finite & in_range")), Targets.of({"gap": (5500, 6500)})
    model = load_checkpoint(conditional_checkpoint)
    return GenerationPlan(model, 22, SIZE, 1, (4,), SYNCHRONOUS, 1, 0, targets, order)


def test_how_many_are_in_range_in_truth_is_what_a_delivery_says(ranged, tmp_path):
    folder = work(tmp_path / "out", ranged)
    request = Request(22, SYNCHRONOUS, 1, sizes=(4,), targets=ranged.targets)
    told = deliver(ranged.checkpoint, request, ranged.order).ledger.in_range
    own = folder.ledger.in_range
    assert 3 < told.predicted < 22
    assert 0 < told.interval[0] < told.in_truth < told.interval[1] < told.predicted
    assert told.widening["gap"] == pytest.approx(1.2, abs=0.1)
    assert (own.valid, own.predicted) == (told.valid, told.predicted)
    assert (own.in_truth, *own.interval) == pytest.approx((told.in_truth, *told.interval), rel=1e-6)
    assert own.widening == pytest.approx(told.widening, rel=1e-6)
    stored = json.loads((folder.place.folder / INDEX).read_text())["ledger"]["in_range"]
    assert stored == own.model_dump(mode="json")
    assert own.sentence in folder.ledger.sentence


def test_how_many_are_in_range_in_truth_is_said_of_whole_folders_alone(ranged, tmp_path):
    whole = work(tmp_path / "out", ranged)
    killed = work(tmp_path / "killed", ranged, most=2)
    assert killed.ledger.in_range.in_truth is None
    assert work(tmp_path / "killed", ranged).ledger.in_range == whole.ledger.in_range
    (tmp_path / "killed" / INDEX).unlink()
    assert work(tmp_path / "killed", ranged).ledger.in_range == whole.ledger.in_range
    assert contents(tmp_path / "killed") == contents(whole.place.folder)
    assert ranged.question()["judge"] == "j"


@pytest.mark.usefixtures("judged")
def test_molecules_are_compared_across_shards_in_their_order(planned, tmp_path):
    folder = work(tmp_path / "out", planned(18))
    wanted = first_of_each_kind(18)
    assert ids(folder.place.folder) == wanted
    unique = 18 - 4 - len(wanted)
    assert unique > 0
    assert folder.ledger.refused == {CRITERIA["unique"].refusal: unique, REFUSED: 4}
    assert (folder.ledger.attempts, folder.ledger.delivered, folder.ledger.stopped) == (18, len(wanted), False)


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize("sdf", [False, True])
def test_neither_the_order_of_actors_nor_a_kill_changes_a_byte(planned, tmp_path, sdf):
    plan = planned(22)
    work(tmp_path / "whole", plan, sdf)
    work(tmp_path / "reversed", plan, sdf, order=lambda tasks: tasks[::-1])
    work(tmp_path / "killed", plan, sdf, most=3, order=lambda tasks: tasks[::-1])
    assert ids(tmp_path / "killed") != first_of_each_kind(22)
    assert ShardFolder(tmp_path / "killed", plan.question()).ledger.stopped
    work(tmp_path / "killed", plan, sdf)
    assert len(read_frame(tmp_path / "killed")) == len(first_of_each_kind(22))  # one of its shards holds nothing
    for ending in (".parquet", ".sdf.gz"):
        whole = contents(tmp_path / "whole", ending)
        assert len(whole) == (6 if sdf or ending == ".parquet" else 0)
        assert contents(tmp_path / "reversed", ending) == contents(tmp_path / "killed", ending) == whole


@pytest.mark.usefixtures("judged")
def test_sdf_has_the_molecules_that_are_delivered(planned, tmp_path):
    work(tmp_path / "out", planned(16), sdf=True)
    found = [read_molecules(file).molecules.properties["id"] for file in sorted((tmp_path / "out").glob("*.sdf.gz"))]
    assert np.concatenate(found).tolist() == first_of_each_kind(16)


@pytest.mark.usefixtures("judged")
def test_a_damaged_shard_is_made_and_settled_again(planned, tmp_path):
    plan = planned(18)
    folder = work(tmp_path / "out", plan)
    before = contents(folder.place.folder)
    (folder.place.folder / "shard-00002.parquet").write_bytes(b"damaged")
    (folder.place.folder / "shard-00003.parquet").unlink()
    work(folder.place.folder, plan)
    assert contents(folder.place.folder) == before


@pytest.mark.usefixtures("judged")
def test_a_lost_index_is_rebuilt_with_its_ledger(planned, tmp_path):
    plan = planned(18)
    before = work(tmp_path / "out", plan).ledger
    (tmp_path / "out" / INDEX).unlink()
    after = work(tmp_path / "out", plan).ledger
    assert after.model_copy(update={"seconds": before.seconds}) == before


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize("until", range(1, 8))
def test_until_delivers_exactly_so_many_and_counts_what_was_made_ahead(planned, tmp_path, until):
    folder = work(tmp_path / "out", planned(200, until=until))
    ledger, all_there = folder.ledger, first_of_each_kind(folder.num)
    assert ids(folder.place.folder) == all_there[:until]
    assert (ledger.asked, ledger.delivered, ledger.short) == (until, until, False)
    assert ledger.surplus == len(all_there) - until
    assert ledger.attempts + ledger.surplus == folder.num
    assert ledger.attempts == ledger.delivered + sum(ledger.refused.values())
    calls = folder.cost.nfe * folder.num
    assert ledger.calls + ledger.surplus_calls == pytest.approx(calls)
    assert ledger.surplus_calls == pytest.approx(calls * ledger.surplus / folder.num)


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize("most", [0, 1, 2, 3, 4])
def test_until_reaches_the_same_folder_after_a_kill(planned, tmp_path, most):
    plan = planned(200, until=6)
    work(tmp_path / "whole", plan)
    work(tmp_path / "killed", plan, most=most, order=lambda tasks: tasks[::-1])
    work(tmp_path / "killed", plan)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("judged")
def test_a_larger_number_continues_and_a_smaller_one_takes_nothing_away(planned, tmp_path):
    assert ids(work(tmp_path / "out", planned(200, until=2)).place.folder) == first_of_each_kind(200)[:2]
    more = contents(work(tmp_path / "out", planned(200, until=6)).place.folder)
    assert ids(tmp_path / "out") == first_of_each_kind(200)[:6]
    assert contents(work(tmp_path / "out", planned(200, until=2)).place.folder) == more


@pytest.mark.usefixtures("judged")
def test_what_was_cut_is_there_again_where_all_are_wanted(planned, tmp_path):
    work(tmp_path / "out", planned(200, until=2))
    work(tmp_path / "out", planned(18))
    assert ids(tmp_path / "out") == first_of_each_kind(18)
    assert contents(tmp_path / "out") == contents(work(tmp_path / "whole", planned(18)).place.folder)
    before = contents(work(tmp_path / "out", planned(200, until=2)).place.folder)
    assert ids(tmp_path / "out") == first_of_each_kind(18)
    assert before == contents(tmp_path / "whole")


@pytest.mark.usefixtures("judged")
def test_a_lost_index_does_not_bring_back_what_was_cut(planned, tmp_path):
    plan = planned(200, until=6)
    before = contents(work(tmp_path / "out", plan).place.folder)
    (tmp_path / "out" / INDEX).unlink()
    assert contents(work(tmp_path / "out", plan).place.folder) == before
    (tmp_path / "out" / INDEX).unlink()
    work(tmp_path / "out", planned(200, until=7))
    assert ids(tmp_path / "out") == first_of_each_kind(200)[:7]


@pytest.mark.usefixtures("judged")
def test_attempts_end_where_they_are_limited(planned, tmp_path):
    folder = work(tmp_path / "out", planned(30, until=20))
    assert (folder.ledger.attempts, folder.ledger.short) == (30, True)
    assert ids(folder.place.folder) == first_of_each_kind(30)
    assert folder.ledger.shortage == f"only {len(first_of_each_kind(30))} of 20 molecules were accepted in 30 attempts."


def test_a_folder_in_which_nothing_is_accepted_says_so(planned, tmp_path, capsys):
    plan = planned(2, "strain<1e-9")
    folder = work(tmp_path / "out", plan)
    with pytest.raises(EADError, match=r"no molecule was accepted in .*out\."):
        GenerationConsole(folder, plan).summary()
    assert "2 attempts: 0 delivered; refused: 2 too strained" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.usefixtures("judged")
def test_a_folder_belongs_to_its_criteria(planned, tmp_path):
    plan = planned(6)
    work(tmp_path / "out", plan)
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    with pytest.raises(OutputError, match="holds molecules with accept=valid & unique, not valid; choose another"):
        ShardFolder(tmp_path / "copy", planned(6, "valid").question())
    assert "accept" not in replace(plan, order=None).question()
