"""The plan of a generation with targets, without a cluster: what it asks, makes and refuses."""

import gzip
import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from ead_platform.generation.making import ShardMaker, shard_molecules
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole, resumable
from ead_platform.generation.shard_index import PARQUET, SDF
from ead_platform.generation.shard_numbers import Task, shards_of
from ead_platform.generation.shards import ShardFolder
from ead_platform.training.run import PUBLISHED

from ead_core.checkpoints.checkpoint import PRIOR, load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.frames import read_frame
from ead_core.data.parquet import load_parquet, parquet_entries
from ead_core.data.targets import TargetError, Targets
from ead_core.errors import ConfigError, EADError, OutputError
from ead_core.evaluation.criteria import Acceptance
from ead_core.sampling.generation import sample
from ead_core.sampling.ledger import InRange
from ead_core.sampling.order import Order
from ead_core.sampling.passport_files import stored_molecule
from ead_core.sampling.reproduction import model_of, reproduce

SYNCHRONOUS = SamplerConfig(policy="synchronous")
TARGETS = Targets.of({"gap": (5000, 7000), "atoms_C": 2})


@pytest.fixture
def plan(conditional_checkpoint):
    return GenerationPlan(load_checkpoint(conditional_checkpoint), 5, 3, 1, None, SYNCHRONOUS, 1, 0)


def test_targets_and_guidance_are_part_of_the_question_only_where_there_are_any(plan):
    before = plan.question()
    assert "targets" not in before
    assert not {"sampler.guidance", "sampler.guidance_levels"} & set(before)
    after = replace(plan, targets=TARGETS, sampler=SYNCHRONOUS.model_copy(update={"guidance": 2.0})).question()
    assert after == {**before, "targets": {"gap": [5000.0, 7000.0], "atoms_C": 2.0}, "sampler.guidance": 2.0}
    limited = {"guidance": 2.0, "guidance_levels": (0.1, 0.5)}
    limits = replace(plan, targets=TARGETS, sampler=SYNCHRONOUS.model_copy(update=limited)).question()
    assert limits == {**after, "sampler.guidance_levels": [0.1, 0.5]}


def test_how_a_formula_is_kept_is_part_of_the_question_where_there_is_one(plan):
    keys = {"sampler.composition", "sampler.formula_guidance", "sampler.formula_levels", "sampler.formula_restarts"}
    counted = replace(plan, targets=Targets.of({"atoms_C": 2}))
    assert not keys & set(counted.question())
    whole = replace(plan, targets=Targets.of({"atoms_C": 2, "atoms_H": 3, "atoms_O": 1}))
    assert keys <= set(whole.question())


def test_branches_are_part_of_the_question_only_where_there_are_any(plan):
    counted = replace(plan, targets=Targets.of({"atoms_C": 2}))
    before = counted.question()
    assert not {key for key in before if key.startswith(("sampler.branch", "sampler.pruning"))}
    for change in ({"branches": 4}, {"branches": 4, "branch_level": 0.4}):
        sampler = plan.sampler.model_copy(update=change)
        given = {f"sampler.{key}": value for key, value in change.items()}
        assert replace(counted, sampler=sampler).question() == {**before, **given}
    unused = plan.sampler.model_copy(update={"branch_level": 0.4})
    assert replace(counted, sampler=unused).question() == before


@pytest.mark.parametrize(
    "change", [{"targets": TARGETS}, {"sampler": SYNCHRONOUS.model_copy(update={"guidance": 1.0})}]
)
def test_a_folder_belongs_to_its_targets_and_guidance_or_to_none(plan, tmp_path, change):
    changed = replace(plan, **change)
    for first, second in ((plan, changed), (changed, plan)):
        path = tmp_path / ("plain" if first is plan else "changed")
        folder = ShardFolder(path, first.question())
        folder.left(first.shards(), False)
        ShardFolder(path, first.question())
        with pytest.raises(OutputError, match=r"holds molecules with (targets|sampler.guidance)=.*; choose another"):
            ShardFolder(path, second.question())


def test_shards_are_the_molecules_of_sample_with_what_was_asked(plan, tmp_path):
    plan = replace(plan, targets=TARGETS)
    whole = sample(plan.checkpoint, 5, 1, targets=TARGETS, policy="synchronous")
    for shard in shards_of(5, 3):
        made = shard_molecules(plan, shard)
        rows = slice(shard.first, shard.first + shard.rows)
        assert list(made.properties) == ["id", "nfe", "target_gap", "target_atoms_C", "warning"]
        assert np.array_equal(made.num_atoms, whole.num_atoms[rows])
        assert np.array_equal(made.properties["target_gap"], whole.properties["target_gap"][rows])
    files = ShardMaker(plan).make(Task(shards_of(5, 3)[0], True, True, ""), None).files
    (tmp_path / "shard.parquet").write_bytes(files[PARQUET])
    read = load_parquet(tmp_path / "shard.parquet").molecules.properties
    assert read["target_atoms_C"].tolist() == [2.0] * 3
    assert read["warning"].tolist() == [""] * 3


def test_shards_hold_what_is_in_the_ranges_and_count_the_others(plan, tmp_path):
    order = Order(Acceptance.parse("finite & in_range"))
    plan = replace(plan, num=12, shard_size=12, targets=Targets.of({"atoms_C": (1, 2)}), order=order)
    plan.check()
    task = Task(plan.shards()[0], True, False, "")
    made = ShardMaker(plan).make(task, None)
    (tmp_path / "shard.parquet").write_bytes(made.files[PARQUET])
    kept = load_parquet(tmp_path / "shard.parquet").molecules
    everything = shard_molecules(plan, plan.shards()[0])
    right = [1 <= (molecule.charges == 6).sum() <= 2 for molecule in everything]
    assert 0 < sum(right) < 12, "the range must divide the molecules"
    assert kept.properties["id"].tolist() == np.flatnonzero(right).tolist()
    folder = ShardFolder(tmp_path / "out", plan.question())
    with folder.opened():
        folder.left(plan.shards(), False)
        folder.add(task.shard, made.files, made.seconds, made.nfe, made.faults, made.refused)
        assert folder.ledger.in_range == InRange(valid=12, predicted=sum(right))
    with pytest.raises(ConfigError, match="in_range needs a range among the targets"):
        replace(plan, targets=Targets.of({"gap": 5000})).check()


@pytest.mark.parametrize("targets", [None, TARGETS])
def test_a_molecule_of_a_shard_is_made_again_from_its_file(plan, conditional_checkpoint, tmp_path, targets):
    asked = replace(plan, targets=targets, sampler=SYNCHRONOUS.model_copy(update={"steps": 6}))
    path = tmp_path / "shard-00001.parquet"
    path.write_bytes(ShardMaker(asked).make(Task(asked.shards()[1], True, False, ""), None).files[PARQUET])
    stored = stored_molecule(path, 4)
    model = model_of(stored.passport, str(conditional_checkpoint))
    assert reproduce(model, stored).same
    assert not reproduce(model, stored._replace(passport=stored.passport.model_copy(update={"seed": 2}))).same


def test_the_plan_refuses_targets_that_some_row_cannot_have(plan):
    rows = Targets(("atoms_C",), (((2.0, 2.0),), ((2.5, 2.5),)))
    replace(plan, targets=TARGETS).check()
    with pytest.raises(TargetError, match=r"target atoms_C must be a number of atoms, not 2\.5\."):
        replace(plan, targets=rows, num=1).check()


def test_what_a_training_publishes_includes_the_table():
    assert PRIOR in PUBLISHED


@pytest.fixture
def broken(plan):
    """A plan whose model has damaged weights: all it makes is NaN."""
    parameter = next(plan.checkpoint.denoiser.parameters())
    with torch.no_grad():
        parameter.view(-1)[0] = torch.nan
    return plan


NO_NUMBER = "a coordinate is not a finite number"


def test_unusable_molecules_are_counted_and_never_written_as_sdf(broken, tmp_path):
    made = ShardMaker(broken).make(Task(shards_of(5, 3)[0], True, True, ""), None)
    assert made.faults == {NO_NUMBER: 3}
    (tmp_path / "shard.parquet").write_bytes(made.files[PARQUET])
    assert json.loads(parquet_entries(tmp_path / "shard.parquet")["ead.shard"])["faults"] == {NO_NUMBER: 3}
    assert read_frame(tmp_path / "shard.parquet")["id"].tolist() == [0, 1, 2]  # every id has its row
    assert gzip.decompress(made.files[SDF]) == b""


def test_a_generation_says_what_is_unusable_and_fails_if_all_is(plan, broken, tmp_path, capsys):
    folder = ShardFolder(tmp_path / "out", plan.question())
    first, last = folder.left(shards_of(5, 3), False)
    folder.add(first.shard, {PARQUET: b"x"}, 1.0, 40.0, {NO_NUMBER: 3})
    console = GenerationConsole(folder, plan)
    with pytest.raises(EADError, match="nothing usable was made in "):
        console.summary()
    folder.add(last.shard, {PARQUET: b"x"}, 1.0, 40.0)
    console.summary()
    told = capsys.readouterr().out.replace("\n", " ")
    assert f"3 of the 3 molecules are unusable (3 of them: {NO_NUMBER})" in told
    assert f"3 of the 5 molecules are unusable (3 of them: {NO_NUMBER}); SDF files leave them out." in told


def test_a_rebuilt_index_is_announced(plan, tmp_path, capsys):
    made = ShardMaker(plan).make(Task(shards_of(3, 3)[0], True, False, ""), None)
    (tmp_path / "shard-00000.parquet").write_bytes(made.files[PARQUET])
    folder = ShardFolder(tmp_path, plan.question())
    folder.left(plan.shards(), False)
    GenerationConsole(folder, plan).announce()
    assert capsys.readouterr().out.splitlines()[:2] == [
        "index.json is missing; it is rebuilt from the undamaged shards (1).",
        "3 of 5 molecules are there already",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_says_what_is_finished_and_how_to_continue(number):
    said, handler = [], signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(SystemExit) as ended,
        resumable("generate", lambda: "8 of 16 molecules are finished.", said.append),
    ):
        signal.raise_signal(number)
    assert ended.value.code == 130
    assert said == ["\nStopped; 8 of 16 molecules are finished. The same command continues."]
    assert signal.getsignal(signal.SIGTERM) == handler
