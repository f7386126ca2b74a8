"""Training on Ray: two workers equal one, a killed driver costs nothing, and MLflow has one run with everything."""

import errno
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from ead_platform.cluster.settings import Settings
from ead_platform.training import worker
from ead_platform.training.recipe import Recipe
from ead_platform.training.run import require_same_run, require_storage
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import load_config
from ead_core.data.dataset import file_sha256
from ead_core.errors import CheckpointError, ConfigError, DataError, EADError, OutputError
from ead_core.sampling.generation import sample
from ead_core.training.parallel import Workers
from ead_core.training.progress import PROGRESS, steps_done

ROOT = Path(__file__).parents[2]


def newest_checkpoint(run):
    return max(run.glob("checkpoint_2*"), key=lambda path: path.name)


def tracked(folder):
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return client, client.search_runs([client.get_experiment_by_name("ead").experiment_id])


def assert_equal_state(mine, theirs, tolerance):
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.slow
@pytest.mark.ray
def test_two_workers_take_the_steps_of_one_and_leave_everything_in_its_place(train, alone, folder):
    done = train("platform.card_molecules=3", "training.evaluate_every=15")
    assert done.returncode == 0, done.stderr
    model = folder / "runs" / "tiny" / "model"
    assert f"{model} holds the model at step 30 of 30." in done.stderr
    assert_equal_state(alone(), load_file(newest_checkpoint(model.parent) / PROGRESS), 1e-9)
    assert len(sample(load_checkpoint(model), 2, policy="synchronous")) == 2

    client, [run] = tracked(folder)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "tiny"
    given = ["platform.storage_path=runs", "platform.card_molecules=3", "training.evaluate_every=15"]
    recipe = Recipe.load(folder / "tiny.yaml", given).flat()
    recipe |= {"data.path": str(folder / "chains.npz"), "platform.storage_path": str(folder / "runs")}
    recipe |= {"platform.name": "tiny"}
    assert run.data.params == {key: str(value) for key, value in recipe.items()}
    [last] = client.get_metric_history(run.info.run_id, "loss")[-1:]
    assert last.step == 30
    assert [m.step for m in client.get_metric_history(run.info.run_id, "molecule_stability")] == [15, 30]
    files = {file.path for file in client.list_artifacts(run.info.run_id)} - {"uncommitted.diff"}
    assert files == {"card", "checkpoint", "curves.png", "recipe.yaml", "samples", "samples.png"}
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "samples")]
    assert pictures == ["samples/step-000015.png", "samples/step-000030.png"]
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("chains.npz", file_sha256(folder / "chains.npz")[:16])
    assert run.data.tags["ead.hardware"].startswith("2 × ")
    assert 0 <= run.data.metrics["card/validity_low"] <= run.data.metrics["card/validity_high"]
    kept = client.download_artifacts(run.info.run_id, "checkpoint")
    assert load_checkpoint(kept).config == load_checkpoint(model).config

    repeated = train("--reproduce", "tiny", recipe=None)
    assert repeated.returncode == 0, repeated.stderr
    assert repeated.stdout.startswith("tiny-reproduced agrees exactly: all weights and ")
    repetition = next(each for each in tracked(folder)[1] if each.info.run_name == "tiny-reproduced")
    assert repetition.data.tags["ead.reproduces"] == run.info.run_id

    refused = train("network.layers=2")
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines()[-1] == (
        f"train: {model.parent} holds a run with network.layers=1, not 2; "
        "choose another platform.name or keep the value."
    )
    [unchanged] = [each for each in tracked(folder)[1] if each.info.run_id == run.info.run_id]
    assert unchanged.info.status == "FINISHED"
    assert unchanged.data.params == run.data.params


@pytest.mark.ray
def test_a_killed_driver_is_resumed_and_ends_where_an_undisturbed_run_ends(command, train, alone, folder):
    steps = ("training.steps=250", "training.checkpoint_seconds=0.3", "training.evaluate_molecules=0")
    process = subprocess.Popen(**command(*steps), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((folder / "runs").glob(f"tiny/checkpoint_2*/{PROGRESS}")):
        time.sleep(0.05)
    time.sleep(0.5)  # so that the manager has noted the checkpoint, and training is beyond it
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    before = steps_done(newest_checkpoint(folder / "runs" / "tiny"))
    assert 0 < before < 250
    done = train(*steps)
    assert done.returncode == 0, done.stderr
    after = newest_checkpoint(folder / "runs" / "tiny")
    assert steps_done(after) == 250
    assert_equal_state(alone(*steps), load_file(after / PROGRESS), 1e-6)
    client, [run] = tracked(folder)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny")
    resumed_at = [m.step for m in client.get_metric_history(run.info.run_id, "loss")]
    assert resumed_at[-1] == 250
    model = load_checkpoint(folder / "runs" / "tiny" / "model")
    assert load_checkpoint(client.download_artifacts(run.info.run_id, "checkpoint")).config == model.config
    assert len(sample(model, 2, policy="synchronous")) == 2


def test_what_a_worker_cannot_do_is_told_before_the_training(folder):
    recipe = Recipe.load(folder / "tiny.yaml", [f"data.path={folder}/nowhere.npz"])
    with pytest.raises(DataError, match=f"data file {folder}/nowhere.npz does not exist;"):
        worker.prepared(recipe)
    recipe = recipe.override({"data.path": str(folder / "chains.npz")})
    with pytest.raises(ConfigError, match="so small that one step spans 10 levels"):
        worker.prepared(recipe.override({"platform.card_molecules": 1, "sampler.steps": 2}))
    assert len(worker.prepared(recipe).train) == 32


@pytest.mark.ray
def test_more_workers_than_the_cluster_holds_are_refused(train):
    done = train("platform.num_workers=3")
    assert done.returncode == 2
    assert "platform.num_workers=3, but the cluster has room for 2 of them." in done.stderr


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("platform.num_worker=2", "unknown configuration key 'platform.num_worker'; did you mean"),
        ("platform.min_workers=3", "platform: min_workers must be at most num_workers (2), not 3."),
        ("platform.num_workers=0", "platform.num_workers: must be greater than or equal to 1, not 0."),
        ("platform.name=a/b", "platform.name: must be letters, digits, '.', '_' and '-', not 'a/b'."),
        ("platform.name=..", "platform.name: must be letters, digits"),
    ],
)
def test_a_wrong_platform_section_is_one_sentence(folder, override, sentence):
    with pytest.raises(EADError) as error:
        Recipe.load(folder / "tiny.yaml", [override])
    assert str(error.value).startswith(sentence)


def test_a_storage_that_cannot_be_written_is_one_sentence(folder):
    (folder / "file").write_text("in the way")
    recipe = Recipe.load(folder / "tiny.yaml", ["platform.name=run"])
    for path in (str(folder / "file" / "runs"), "gopher://somewhere/runs"):
        with pytest.raises(OutputError, match=rf"^platform\.storage_path: cannot write {path}/run \(.*\)\.$"):
            require_storage(recipe.override({"platform.storage_path": path}))
    require_storage(recipe.override({"platform.storage_path": str(folder / "new" / "runs")}))
    assert (folder / "new" / "runs" / "run").is_dir()


def test_a_full_disk_is_one_sentence(folder, monkeypatch):
    """That of a worker; the driver prints it, and the same command goes on from the last whole checkpoint."""

    def report(metrics, checkpoint=None):
        if checkpoint:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker.ray.train, "report", report)
    monkeypatch.setattr(worker.Workers, "joined", lambda: Workers(0, 1, torch.device("cpu")))
    place = {"platform.name": "run", "platform.storage_path": str(folder / "runs")}
    recipe = Recipe.load(folder / "tiny.yaml", [f"data.path={folder / 'chains.npz'}"]).override(place)
    assert worker._train(recipe, folder / "scratch" / "run") == {
        "refused": f"cannot write a checkpoint to {folder}/runs/run ([Errno 28] No space left on device)."
    }


def test_a_published_model_of_another_recipe_is_refused_in_one_sentence(folder):
    recipe = Recipe.load(folder / "tiny.yaml", ["platform.name=run", f"platform.storage_path={folder / 'runs'}"])
    require_same_run(recipe)  # nothing is published
    published = folder / "runs" / "run" / "model" / "config.yaml"
    published.parent.mkdir(parents=True)
    published.write_text((folder / "tiny.yaml").read_text().replace("layers: 1", "layers: 2").split("platform:")[0])
    with pytest.raises(
        CheckpointError, match=r"run holds a run with network\.layers=2, not 1; choose another platform\.name"
    ):
        require_same_run(recipe)
    published.write_text("a: [")
    with pytest.raises(CheckpointError, match=r"run holds a run whose recipe cannot be read \(.*\)\.$"):
        require_same_run(recipe)


def test_the_core_leaves_the_platform_section_alone(folder):
    recipe = Recipe.load(folder / "tiny.yaml")
    assert recipe.core == load_config(folder / "tiny.yaml")
    assert recipe.platform.num_workers == 2
    with pytest.raises(EADError, match=r"unknown configuration key 'platform\.num_workers'"):
        load_config(folder / "tiny.yaml", ["platform.num_workers=3"])


def test_paths_are_made_absolute_before_they_travel(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("EAD_DATA", raising=False)
    (folder / "first").mkdir()
    here, cluster, job = (Settings("", None, address, inside) for address, inside in ((None, 0), ("h:1", 0), (None, 1)))
    recipe = Recipe.load("tiny.yaml", ["training.initial=first", "platform.storage_path=runs"])
    located = recipe.located("tiny", here)
    assert located.data.path == str(folder / "chains.npz")
    assert located.training.initial == str(folder / "first")
    assert located.place == str(folder / "runs" / "tiny")
    bundled = recipe.override({"training.initial": "qm9-small", "platform.storage_path": "s3://b/r"})
    assert bundled.located("x", here).training.initial == "qm9-small"
    assert bundled.located("x", here).place == "s3://b/r/x"
    elsewhere = recipe.override({"data.path": "on-the-nodes.npz"})
    assert elsewhere.located("x", cluster).data.path == "on-the-nodes.npz"
    with pytest.raises(DataError, match=r"on-the-nodes\.npz does not exist"):
        elsewhere.located("x", here)
    with pytest.raises(EADError, match="runs is relative, but a submitted job"):
        recipe.located("x", job)
