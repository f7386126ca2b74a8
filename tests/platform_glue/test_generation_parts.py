"""The plan of a generation with targets, without a cluster: what it asks, makes and refuses."""

from dataclasses import replace

import numpy as np
import pytest
from ead_platform.generation import PARQUET, Plan, ShardMaker, _decoded, shard_molecules
from ead_platform.shards import ShardFolder, Task, shards_of
from ead_platform.training import PUBLISHED

from ead_core.config import SamplerConfig
from ead_core.data.targets import TargetError, Targets
from ead_core.diffusion.generation import sample
from ead_core.errors import OutputError
from ead_core.training.checkpoint import PRIOR, load_checkpoint

SYNCHRONOUS = SamplerConfig(policy="synchronous")
TARGETS = Targets.of({"gap": (5000, 7000), "atoms_C": 2})


@pytest.fixture
def plan(conditional_checkpoint):
    return Plan(load_checkpoint(conditional_checkpoint), 5, 3, 1, None, SYNCHRONOUS, 1, 0)


def test_targets_and_guidance_are_part_of_the_question_only_where_there_are_any(plan):
    before = plan.question()
    assert "targets" not in before
    assert not {"sampler.guidance", "sampler.guidance_levels"} & set(before)
    after = replace(plan, targets=TARGETS, sampler=SYNCHRONOUS.model_copy(update={"guidance": 2.0})).question()
    assert after == {**before, "targets": {"gap": [5000.0, 7000.0], "atoms_C": 2.0}, "sampler.guidance": 2.0}
    limited = {"guidance": 2.0, "guidance_levels": (0.1, 0.5)}
    limits = replace(plan, targets=TARGETS, sampler=SYNCHRONOUS.model_copy(update=limited)).question()
    assert limits == {**after, "sampler.guidance_levels": [0.1, 0.5]}


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


def test_shards_are_the_molecules_of_sample_with_what_was_asked(plan):
    plan = replace(plan, targets=TARGETS)
    whole = sample(plan.checkpoint, 5, 1, targets=TARGETS, policy="synchronous")
    for shard in shards_of(5, 3):
        made = shard_molecules(plan, shard)
        rows = slice(shard.first, shard.first + shard.rows)
        assert list(made.properties) == ["id", "nfe", "target_gap", "target_atoms_C", "warning", "smiles"]
        assert np.array_equal(made.num_atoms, whole.num_atoms[rows])
        assert np.array_equal(made.properties["target_gap"], whole.properties["target_gap"][rows])
    files = ShardMaker(plan).make(Task(shards_of(5, 3)[0], True, True, ""), None).files
    read = _decoded(files[PARQUET]).properties
    assert read["target_atoms_C"].tolist() == [2.0] * 3
    assert read["warning"].tolist() == [""] * 3


def test_the_plan_refuses_targets_that_some_row_cannot_have(plan):
    rows = Targets(("atoms_C",), (((2.0, 2.0),), ((2.5, 2.5),)))
    replace(plan, targets=TARGETS).check()
    with pytest.raises(TargetError, match=r"target atoms_C must be a number of atoms, not 2\.5\."):
        replace(plan, targets=rows, num=1).check()


def test_what_a_training_publishes_includes_the_table():
    assert PRIOR in PUBLISHED
