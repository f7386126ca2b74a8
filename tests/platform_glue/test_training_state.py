"""A training on Ray goes on from the newest checkpoint that is whole; looked at without a cluster."""

import json
import shutil

import numpy as np
import pytest
import torch
from ead_platform.training.recipe import Recipe
from ead_platform.training.run import only_training
from ead_platform.training.state import LIST, drop_damaged_list, fetch_newest_whole
from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME

from ead_core.config import Config
from ead_core.data.dataset import compute_statistics
from ead_core.data.store import MoleculeSet
from ead_core.errors import CheckpointError, OutputError
from ead_core.training.fit import fit
from ead_core.training.parallel import Workers
from ead_core.training.progress import BEFORE, PROGRESS, steps_done

ALONE = Workers(0, 1, torch.device("cpu"))
TINY = {
    "data": {"path": "none.npz"},
    "network": {"hidden_features": 8, "layers": 1, "edge_features": 8, "vectors": 2},
    "diffusion": {"steps": 20, "interval": 5},
}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The storage of a run with checkpoints of 1, 2 and 3 steps, and a folder of something else."""
    storage = tmp_path_factory.mktemp("storage")
    data = MoleculeSet(np.array([2, 2]), np.array([6, 8, 8, 6]), np.arange(12.0).reshape(4, 3))
    statistics = compute_statistics(data, name="", sha256="")
    for steps in (1, 2, 3):
        fit(Config(**TINY, training={"steps": steps, "batch_size": 2}), data, statistics, storage / "run")
        shutil.copytree(storage / "run", storage / f"checkpoint_2026-01-0{steps}", ignore=lambda *_: [BEFORE])
    (storage / "model").mkdir()
    return storage


@pytest.fixture
def storage(three, tmp_path):
    return shutil.copytree(three, tmp_path / "storage")


def fetched(storage, tmp_path):
    """What is told, and the steps of what was fetched."""
    told = fetch_newest_whole(str(storage), tmp_path / "worker", ALONE)
    return told, steps_done(tmp_path / "worker")


def test_the_newest_is_taken_if_it_is_whole(storage, tmp_path):
    assert fetched(storage, tmp_path) == ([], 3)
    shutil.rmtree(storage / "checkpoint_2026-01-03")
    assert fetched(storage, tmp_path) == ([], 2)


def test_where_there_is_no_checkpoint_nothing_is_fetched(tmp_path):
    assert fetch_newest_whole(str(tmp_path / "new"), tmp_path / "worker", ALONE) == []
    assert not (tmp_path / "worker").exists()


def listing(*names):
    return json.dumps({"checkpoint_results": [{"checkpoint_dir_name": name} for name in names]})


def test_a_list_of_checkpoints_in_order_is_left_to_ray_train(storage):
    assert drop_damaged_list(str(storage)) is None
    (storage / LIST).write_text(listing("checkpoint_2026-01-02", "checkpoint_2026-01-03"))
    assert drop_damaged_list(str(storage)) is None
    assert (storage / LIST).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", listing("checkpoint_2026-01-01", "checkpoint_2026-01-09")])
def test_a_damaged_list_of_checkpoints_is_removed_with_a_sentence(storage, tmp_path, content):
    (storage / LIST).write_text(content)
    told = drop_damaged_list(str(storage))
    assert str(told).startswith(f"Ray Train's list of checkpoints in {storage} is damaged or names")
    assert not (storage / LIST).exists()
    assert fetched(storage, tmp_path) == ([], 3)


def test_ray_train_names_its_list_so():
    assert CHECKPOINT_MANAGER_SNAPSHOT_FILENAME == LIST


def damage_state(folder):
    content = bytearray((folder / PROGRESS).read_bytes())
    content[-1] ^= 1
    (folder / PROGRESS).write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        damage_state,
        lambda folder: (folder / PROGRESS).unlink(),
        lambda folder: (folder / PROGRESS).write_bytes(b""),
        lambda folder: (folder / "config.yaml").unlink(),
        lambda folder: (folder / "config.yaml").write_text("data: [1\n}"),
        lambda folder: (folder / "stats.json").write_text("{"),
    ],
)
def test_the_one_before_a_damaged_one_is_taken_and_it_is_told(storage, tmp_path, damage):
    damage(storage / "checkpoint_2026-01-03")
    [told], steps = fetched(storage, tmp_path)
    assert steps == 2
    assert told.startswith("the checkpoint checkpoint_2026-01-03 cannot be resumed from (")
    assert told.endswith("; the run goes on from the one before it.")
    assert "\n" not in told


def test_any_number_of_damaged_ones_is_passed_over(storage, tmp_path):
    for name in ("checkpoint_2026-01-03", "checkpoint_2026-01-02"):
        damage_state(storage / name)
    told, steps = fetched(storage, tmp_path)
    assert (len(told), steps) == (2, 1)


def test_if_none_is_whole_one_sentence_names_them(storage, tmp_path):
    for folder in storage.glob("checkpoint_*"):
        damage_state(folder)
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* is whole: ") as error:
        fetched(storage, tmp_path)
    assert all(f"2026-01-0{day}" in str(error.value) for day in (1, 2, 3))
    assert "\n" not in str(error.value)


def test_a_second_training_in_the_same_place_is_refused(tmp_path):
    recipe = Recipe(**TINY, platform={"storage_path": str(tmp_path), "name": "run"})
    refused = pytest.raises(OutputError, match=r"another training is writing to .*/run; .* platform\.name")
    with only_training(recipe), refused, only_training(recipe):
        pass
    with only_training(recipe):
        pass
    with only_training(recipe.override({"platform.storage_path": "s3://bucket/runs"})):
        pass
