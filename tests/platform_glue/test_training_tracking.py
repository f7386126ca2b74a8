"""The MLflow run of a training, written without a cluster: what it holds, and what a failing store costs."""

import io
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from ead_platform.cluster.revision import uncommitted_changes
from ead_platform.tracking import provenance
from ead_platform.tracking.curves import draw_curves
from ead_platform.tracking.provenance import about_session, about_tags, code_tags, machine
from ead_platform.training.final_card import has_card, write_card
from ead_platform.training.recipe import Recipe
from ead_platform.training.relay import Relay
from ead_platform.training.tracking import TrainingTracker
from ead_platform.training.worker import reporter
from mlflow.tracking import MlflowClient

from ead_core.data.dataset import file_sha256
from ead_core.evaluation.card import Card
from ead_core.training.session import prepare


@pytest.fixture
def recipe(chains, tmp_path):
    """A recipe on 40 chain molecules, as the driver has it."""
    platform = {"storage_path": str(tmp_path / "runs"), "name": "tiny", "card_molecules": 3, "system_metrics": False}
    return Recipe(data={"path": str(chains)}, platform=platform)


@pytest.fixture
def about(recipe):
    return about_session(recipe, prepare(recipe), [machine(), machine()])


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.yaml").write_text("x: 1\n")
    return folder


def png(shade):
    """The bytes of a grey picture."""
    file = io.BytesIO()
    PIL.Image.new("L", (2, 2), shade).save(file, "png")
    return file.getvalue()


def client_and_run(settings):
    client = MlflowClient(settings.tracking_uri)
    [run] = client.search_runs([client.get_experiment_by_name("ead").experiment_id])
    return client, run


def artifacts(client, run, folder=None):
    return [file.path for file in client.list_artifacts(run.info.run_id, folder)]


def test_a_run_holds_what_it_rests_on_and_how_it_went(settings, recipe, about, checkpoint):
    tracker = TrainingTracker(settings, recipe)
    tracker.log({"step": 5, "epoch": 0.5, "loss": 2.0, "loss_above_0": 3.0, "about": about})
    for step in (10, 20):
        tracker.log({"step": step, "molecule_stability": step / 100, "picture": png(step)})
    tracker.finish("FINISHED", checkpoint)
    client, run = client_and_run(settings)
    digest = file_sha256(recipe.data.path)
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("chains.npz", digest[:16])
    assert yaml.safe_load(data.dataset.profile) == {
        "num_rows": 40, "train": 32, "valid": 4, "test": 4, "split": "auto",
    }  # fmt: skip
    assert run.data.tags["ead.data.sha256"] == digest
    assert run.data.tags["ead.hardware"].startswith("2 × ")
    assert run.data.tags["ead.version.torch"]
    assert run.data.metrics["epoch"] == 0.5
    expected = {"checkpoint", "curves.png", "recipe.yaml", "samples"}
    assert set(artifacts(client, run)) - {"uncommitted.diff"} == expected
    assert artifacts(client, run, "samples") == ["samples/step-000010.png", "samples/step-000020.png"]
    shade = PIL.Image.open(client.download_artifacts(run.info.run_id, "samples/step-000020.png")).getpixel((0, 0))
    assert shade == 20
    stored = yaml.safe_load(Path(client.download_artifacts(run.info.run_id, "recipe.yaml")).read_text())
    assert Recipe(**stored) == recipe


def test_a_continued_run_tells_what_changed(settings, recipe, about, checkpoint):
    for steps, data in ((10, about), (20, {**about, "dataset": {**about["dataset"], "sha256": "f" * 64}})):
        tracker = TrainingTracker(settings, recipe.override({"training.steps": steps}))
        tracker.log({"step": steps, "loss": 1.0, "about": data})
        tracker.finish("FINISHED", checkpoint)
    _, run = client_and_run(settings)
    assert run.data.params["training.steps"] == "10"
    changed = {name: value for name, value in run.data.tags.items() if name.startswith("changed.")}
    assert changed == {"changed.training.steps": "20", "changed.ead.data.sha256": "f" * 64}


def test_a_store_that_fails_costs_what_it_did_not_take(settings, recipe, about, checkpoint, tmp_path):
    """The table of metrics is taken away and given back, in the middle and at the end."""

    def rename(old, new):
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    tracker = TrainingTracker(settings, recipe)
    rename("metrics", "gone")
    with pytest.warns(UserWarning, match="MLflow did not take the figures of step 5"):
        tracker.log({"step": 5, "loss": 2.0, "about": about})
    rename("gone", "metrics")
    tracker.log({"step": 6, "loss": 1.5})
    rename("metrics", "gone")
    with pytest.warns(UserWarning, match=r"MLflow did not take curves\.png"):
        tracker.finish("FINISHED", checkpoint)
    with pytest.warns(UserWarning, match="MLflow did not take the card"):
        tracker.log_card(tmp_path, Card(name="tiny", attempts=0, sections={}, failures={}), 6)
    rename("gone", "metrics")
    client, run = client_and_run(settings)
    assert run.info.status == "FINISHED"
    assert run.data.tags["ead.data.sha256"] == about["dataset"]["sha256"]
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [6]
    assert artifacts(client, run, "checkpoint") == ["checkpoint/config.yaml"]


def test_the_load_of_the_host_is_measured_while_the_run_lasts(settings, recipe, checkpoint, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")

    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]

    tracker = TrainingTracker(settings, recipe)
    tracker.log({"step": 1, "loss": 1.0})
    assert threads() == []
    tracker = TrainingTracker(settings, recipe.override({"platform.system_metrics": True}))
    tracker.log({"step": 2, "loss": 1.0})
    assert len(threads()) == 1
    client, run = client_and_run(settings)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and "system/cpu_utilization_percentage" not in run.data.metrics:
        time.sleep(0.1)
        run = client.get_run(run.info.run_id)
    tracker.finish("FINISHED", checkpoint)
    assert threads() == []
    assert 0 <= run.data.metrics["system/cpu_utilization_percentage"] <= 100


def test_the_first_report_tells_about_the_run_and_a_check_brings_its_picture(tmp_path, monkeypatch):
    rows, kept = [], []
    monkeypatch.setattr("ray.train.report", rows.append)
    report = reporter({"dataset": {}}, tmp_path / "samples.png")
    report({"step": 1, "loss": 1.0})
    report({"step": 2, "molecule_stability": 0.0})
    (tmp_path / "samples.png").write_bytes(b"drawn")
    report({"step": 3, "molecule_stability": 0.0})
    report({"step": 4, "loss": 1.0})
    assert [set(row) - {"step"} for row in rows] == [
        {"loss", "about"}, {"molecule_stability"}, {"molecule_stability", "picture"}, {"loss"},
    ]  # fmt: skip
    Relay(type("Box", (), {"put": staticmethod(kept.append)})).after_report(None, rows[2:3], None)
    assert kept[0]["picture"] == b"drawn"


def test_the_card_of_a_model_is_in_its_place_and_in_mlflow(settings, recipe, tiny_checkpoint, checkpoint):
    place = checkpoint.parent / "runs" / "tiny"
    place.mkdir(parents=True)
    (place / "model").symlink_to(tiny_checkpoint)
    tracker = TrainingTracker(settings, recipe)
    assert not has_card(recipe)
    assert write_card(recipe, tracker) == str(place / "card")
    assert has_card(recipe)
    card = Card.load(place / "card" / "card.json")
    assert card.attempts == 3
    client, run = client_and_run(settings)
    assert {"card/card.json", "card/card.html", "card/molecules.npz"} <= set(artifacts(client, run, "card"))
    figure = card.sections["published"]["molecule_stability"]
    kept = [run.data.metrics[f"card/molecule_stability{end}"] for end in ("", "_low", "_high")]
    assert kept == [figure.value, *figure.interval]


def test_code_is_told_by_commit_only_where_git_knows_it(tmp_path, monkeypatch):
    """Two files of a package: in a folder of another project, then committed, then changed."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "package")

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@y"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        )

    version = {"ead.version.ead": "0.1.0"}
    assert code_tags() == version
    git("init")
    assert code_tags() == version
    git("add", "package")
    git("commit", "-m", "one")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert code_tags() == version | {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "False"}
    assert uncommitted_changes(tmp_path / "package") == ""
    (tmp_path / "package" / "__init__.py").write_text("a = 2\n")
    assert code_tags()["mlflow.source.git.dirty"] == "True"
    assert "+a = 2" in uncommitted_changes(tmp_path / "package")
    monkeypatch.setenv("PATH", "")
    assert code_tags() == version
    monkeypatch.setenv("EAD_REVISION", f"{commit}-dirty")  # as a submitted job is told
    assert code_tags() == version | {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "True"}


def test_unlike_workers_are_told_apart(about):
    gpu = {"host": "b", "processor": "H100", "threads": 1}
    tags = about_tags({**about, "machines": [gpu, gpu, {"host": "a", "processor": "EPYC", "threads": 2}]})
    assert tags["ead.hardware"] == "2 × H100, threads: 1; 1 × EPYC, threads: 2"
    assert tags["ead.hosts"] == "b, a"


def test_curves_are_drawn_of_whatever_was_measured(tmp_path):
    """A panel without curves is left empty; a loss of zero has no place on a logarithmic axis."""
    few = {"loss": [(1, 2.0), (2, 0.0)], "error_gap": [(2, 0.5)]}
    many = {**few, **{f"loss_above_{edge}": [(1, 2.0), (2, 1.0)] for edge in ("0", "0.05", "0.5")}}
    pixels = []
    for curves in ({}, few, many):
        draw_curves(curves, tmp_path / "curves.png")
        pixels.append(np.asarray(PIL.Image.open(tmp_path / "curves.png").convert("L")))
    drawn = [int((image < 255).sum()) for image in pixels]
    assert 0 == drawn[0] < drawn[1] < drawn[2]
