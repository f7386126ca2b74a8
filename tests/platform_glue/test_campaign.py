"""How far a generation has come, and how its run is asked to stop; without a cluster."""

import json
import os

import pytest
from ead_platform.generation.deliveries import rounds
from ead_platform.generation.making import ShardMaker
from ead_platform.generation.places import place_of
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole
from ead_platform.generation.shards import CANCEL, ShardFolder
from ead_platform.generation.status import cancel, status

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.shard_folders import INDEX
from ead_core.errors import OutputError

pytestmark = pytest.mark.usefixtures("judged_here")


@pytest.fixture
def plan(tiny_checkpoint):
    sampler = SamplerConfig(policy="synchronous", steps=4)
    return GenerationPlan(load_checkpoint(tiny_checkpoint), 12, 4, 1, (4,), sampler, 1, 0)


def make(folder, plan, number):
    """A run that ends after so many shards."""
    console, maker = GenerationConsole(folder, plan), ShardMaker(plan)
    [tasks] = rounds(folder, plan, False)
    for task in tasks[:number]:
        console.finished(task, maker.make(task, None))


def test_anybody_sees_how_far_it_has_come(plan, tmp_path):
    folder = ShardFolder(tmp_path / "out", plan.question())
    with folder.opened():
        make(folder, plan, 2)
        seen = status(folder.place)
    assert seen.running
    assert seen.rate > 0
    assert "8 of 12 molecules in 2 shards" in list(seen.lines)
    assert list(seen.lines)[-1].startswith("a run is at work; ")
    assert list(status(folder.place).lines)[-1] == "no run is at work"


def test_the_rate_is_of_what_was_finished_between_the_first_and_the_last(plan, tmp_path):
    folder = ShardFolder(tmp_path / "out", plan.question())
    with folder.opened():
        make(folder, plan, 3)
    for number in range(3):
        os.utime(tmp_path / "out" / f"shard-{number:05d}.parquet", (100 * number, 100 * number))
    assert status(folder.place).rate == pytest.approx(8 / 200)


def test_a_run_that_is_asked_to_stop_ends_as_by_ctrl_c_and_the_next_one_goes_on(plan, tmp_path, capsys):
    folder = ShardFolder(tmp_path / "out", plan.question())

    def run():
        console = GenerationConsole(folder, plan)
        with folder.opened(), console.closing():
            make(folder, plan, 1)
            cancel(folder.place)
            console._check_cancelled()

    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 130
    assert "4 of 12 molecules are finished" in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "out" / CANCEL).exists()
    with folder.opened():
        make(folder, plan, 9)
    assert folder.rows == 12


def test_what_is_no_generation_or_has_no_run_is_one_sentence(plan, tmp_path):
    with pytest.raises(OutputError, match=r"holds no readable index\.json of a generation\."):
        status(place_of(tmp_path))
    folder = ShardFolder(tmp_path / "out", plan.question())
    with folder.opened():
        make(folder, plan, 1)
    with pytest.raises(OutputError, match="no run is at work in"):
        cancel(folder.place)
    assert not (tmp_path / "out" / CANCEL).exists()
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    (tmp_path / "out" / INDEX).write_text(json.dumps({**index, "num": 13}))
    with pytest.raises(OutputError, match=r"index\.json is damaged; the command that made it rebuilds it\."):
        status(folder.place)
