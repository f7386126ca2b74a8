"""Repeating a run without a cluster: what is refused, what is told, and the verdict on planted differences."""

import pytest
import torch
from ead_platform.tracking.provenance import DATA_TAG, about_session, machine
from ead_platform.tracking.store import open_store
from ead_platform.training.recipe import Recipe
from ead_platform.training.reproduction import ROUNDING, find_original, judge, other_code, repeated
from ead_platform.training.tracking import TrainingTracker
from safetensors.torch import save_file

from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import CheckpointError, ConfigError, DataError, EADError
from ead_core.training.session import prepare


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    """Which take longer to draw than all else, and are drawn in test_training_tracking.py."""
    monkeypatch.setattr("ead_platform.training.tracking.draw_curves", lambda _, path: path.touch())


WEIGHTS = {"a": torch.tensor([1.0, -4.0]), "b": torch.zeros(3)}


@pytest.fixture
def recipe(tmp_path):
    molecules = MoleculeSet.from_lists([[6, 8]] * 10, torch.randn(10, 2, 3).numpy())
    save_npz(molecules, tmp_path / "pairs.npz")
    platform = {"storage_path": str(tmp_path / "runs"), "name": "first", "system_metrics": False}
    training = {"steps": 20, "max_seconds": 100}
    return Recipe(data={"path": str(tmp_path / "pairs.npz")}, training=training, platform=platform)


@pytest.fixture
def record(settings, tmp_path):
    """Writes the MLflow run of a training that was never computed; gives its id."""

    def record(recipe, weights=WEIGHTS, stability=0.5, last=20, status="FINISHED"):
        folder = tmp_path / "checkpoint"
        folder.mkdir(exist_ok=True)
        save_file(weights, folder / "model.safetensors")
        tracker = TrainingTracker(settings, recipe)
        about = about_session(recipe, prepare(recipe), [machine()])
        tracker.log({"step": last, "epoch": 1.0, "loss": float(torch.rand(())), "about": about})
        tracker.log({"step": last, "molecule_stability": stability})
        tracker.finish(status, folder)
        return tracker.run_id

    return record


def test_a_run_is_repeated_elsewhere_without_a_limit_of_time(settings, recipe, record):
    run_id = record(recipe)
    original = find_original(settings, "first")
    assert original == find_original(settings, run_id)
    again = repeated(original, ["platform.storage_path=/elsewhere"], settings)
    changes = {"platform.storage_path": "/elsewhere", "platform.name": "first-reproduced", "training.max_seconds": None}
    assert again == recipe.override(changes)
    assert [text for text in other_code(original) if "uncommitted" not in text] == []


def test_an_unknown_run_is_one_sentence(settings, recipe, record):
    record(recipe)
    for name in ("second", "x' or 'a' = 'a", ""):
        with pytest.raises(EADError, match=r"^MLflow knows no training '"):
            find_original(settings, name)


def test_a_name_of_two_runs_is_refused_with_their_ids(settings, recipe, record):
    ids = {record(recipe), record(recipe.override({"platform.storage_path": "/elsewhere"}))}
    with pytest.raises(EADError, match=r"^2 trainings are called 'first'; give the id of one") as error:
        find_original(settings, "first")
    assert set(str(error.value).rstrip(".").rpartition(": ")[2].split(", ")) == ids


@pytest.mark.parametrize(("last", "status"), [(10, "FINISHED"), (20, "KILLED")])
def test_an_unfinished_run_is_refused(settings, recipe, record, last, status):
    record(recipe, last=last, status=status)
    with pytest.raises(EADError, match=rf"^first ended at step {last} of 20 \({status}\); continue it"):
        find_original(settings, "first")


def test_a_run_continued_with_other_settings_is_refused_unless_they_change_no_figure(settings, recipe, record):
    record(recipe)
    record(recipe.override({"platform.num_workers": 2, "training.checkpoint_seconds": 1.0}))
    assert find_original(settings, "first").name == "first"
    with open_store(settings) as (client, _):  # as of a run whose data file changed between two sittings
        other = record(recipe.override({"platform.name": "other"}))
        client.set_tag(other, f"changed.{DATA_TAG}", "f" * 64)
    with pytest.raises(EADError, match=r"^other was continued with another ead\.data\.sha256, so that no"):
        find_original(settings, "other")
    record(recipe.override({"training.learning_rate": 0.1}))
    with pytest.raises(EADError, match=r"^first was continued with another training\.learning_rate, so that no"):
        find_original(settings, "first")


def test_other_settings_and_other_files_are_refused(settings, recipe, record, tiny_checkpoint, tmp_path):
    (tmp_path / "start").mkdir()
    for file in tiny_checkpoint.iterdir():
        (tmp_path / "start" / file.name).write_bytes(file.read_bytes())
    record(recipe.override({"training.initial": str(tmp_path / "start")}))
    original = find_original(settings, "first")
    with pytest.raises(ConfigError, match=r"it takes platform\.\* and data\.path, .*, not training\.steps\.$"):
        repeated(original, ["training.steps=30"], settings)
    with pytest.raises(ConfigError, match=r"runs/first is the place of the run itself; choose another platform\.name"):
        repeated(original, ["platform.name=first"], settings)
    moved = (tmp_path / "pairs.npz").rename(tmp_path / "moved.npz")
    with pytest.raises(DataError, match=r"pairs\.npz does not exist"):
        repeated(original, [], settings)
    assert repeated(original, [f"data.path={moved}"], settings).data.path == str(moved)
    (tmp_path / "start" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match=r"start is not what the run was trained on: its SHA-256 is [0-9a-f]{64}, and"):
        repeated(original, [f"data.path={moved}"], settings)
    with pytest.raises(CheckpointError, match="neither a checkpoint directory"):
        repeated(original, [f"data.path={moved}", "training.initial=nowhere"], settings)
    moved.write_bytes(moved.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"moved\.npz is not what the run was trained on"):
        repeated(original, [f"data.path={moved}"], settings)


def test_other_code_is_told(settings, recipe, record):
    run_id = record(recipe)
    with open_store(settings) as (client, _):
        client.set_tag(run_id, "ead.version.torch", "1.0")
    told = list(other_code(find_original(settings, run_id)))
    assert f"first ran with ead.version.torch 1.0; here it is {torch.__version__}." in told


def planted(difference):
    return {**WEIGHTS, "a": WEIGHTS["a"] + torch.tensor([difference, 0.0])}


@pytest.mark.parametrize(
    ("weights", "stability", "agrees", "sentence"),
    [
        (WEIGHTS, 0.5, True, "agrees exactly: all weights and 1 figures of quality"),
        (planted(2.0**-20), 0.5, True, "agrees within rounding 2.4e-07: weights by up to 2.4e-07 of the largest"),
        (planted(2.0**-20), 0.4, True, "; molecule_stability at step 20 is 0.4, was 0.5"),
        (planted(5 * ROUNDING), 0.5, False, "differs: weights by up to 1.2e-04 of the largest"),
        (WEIGHTS, 0.4, False, "differs: weights by up to 0.0e+00 of the largest; molecule_stability at step 20 is"),
        ({"a": WEIGHTS["a"]}, 0.5, False, "differs: weights by up to inf"),
    ],
)
def test_the_verdict_tells_planted_differences(settings, recipe, record, weights, stability, agrees, sentence):
    first = record(recipe)
    second = record(recipe.override({"platform.name": "first-reproduced"}), weights, stability)
    verdict = judge(settings, find_original(settings, first), second)
    assert sentence in verdict.sentence
    assert verdict.agrees == agrees
    with open_store(settings) as (client, _):
        assert client.get_run(second).data.tags["ead.reproduces"] == first
        assert client.get_run(second).data.tags["ead.verdict"] == verdict.sentence
        assert client.get_run(first).data.tags[f"ead.reproduced_by.{second}"] == verdict.sentence


def test_weights_that_are_gone_are_one_sentence(settings, recipe, record, tmp_path):
    first, second = record(recipe), record(recipe.override({"platform.name": "second"}))
    for file in (tmp_path / "mlruns").rglob(f"{second}/artifacts/checkpoint/model.safetensors"):
        file.unlink()
    with pytest.raises(EADError, match=r"^the MLflow store sqlite:.* cannot be used"):
        judge(settings, find_original(settings, first), second)
