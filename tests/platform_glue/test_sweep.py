"""The sweep end to end on a real Ray cluster: results, records, tracking, and a kill in the middle."""

import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient

from ead_core.checkpoints.checkpoint import load_checkpoint

pytestmark = pytest.mark.ray

KEYS = ["sampler.async_ratio", "sampler.history_window", "sampler.pause_mode"]


def tracked(tmp_path):
    """Parent runs and nested runs of the store."""
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ead")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in runs if "mlflow.parentRunId" in run.data.tags]


def assert_complete(done, trials, tmp_path, tiny_checkpoint):
    """The command has left results, a plot, and tracked runs of so many trials."""
    assert done.returncode == 0, done.stderr
    assert "difference" in done.stdout
    assert "mlflow ui" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert len(table) == trials
    assert {*KEYS, "molecule_stability", "nfe_per_molecule", "seconds_per_molecule"} <= set(table.columns)
    assert table["molecule_stability"].is_monotonic_decreasing
    baseline = table[table["sampler.async_ratio"] == 0]
    assert len(baseline) == 1
    assert baseline["molecule_stability_difference"].item() == 0
    assert baseline["nfe_per_molecule"].item() == 41
    assert ((table["sampler.async_ratio"] == 0.2) & (table["sampler.history_window"] == 2)).any()
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert load_checkpoint(tiny_checkpoint).config.override(best).sampler.policy == "adaptive"
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 10_000
    parents, trials = tracked(tmp_path)
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert "best_molecule_stability" in parents[0].data.metrics
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parents[0].info.run_id}
    assert {run.info.status for run in trials} == {"FINISHED"}
    by_trial = {run.data.tags["ead.trial"]: run for run in trials}
    assert sorted(by_trial) == sorted(table["trial"])
    for row in table.to_dict("records"):
        run = by_trial[row["trial"]]
        assert run.data.metrics["molecule_stability"] == pytest.approx(row["molecule_stability"])
        assert run.data.params["sampler.pause_mode"] == row["sampler.pause_mode"]


@pytest.mark.slow
def test_a_sweep_leaves_results_plot_and_tracked_runs(run_sweep, tmp_path, tiny_checkpoint):
    assert_complete(run_sweep("--trials", "4", "--samples", "6", "--out", "out"), 4, tmp_path, tiny_checkpoint)


@pytest.mark.slow
def test_a_finished_sweep_can_be_extended(run_sweep, tmp_path):
    """More trials may have another winner, whose confirmation branches from another level."""
    (tmp_path / "space.yaml").write_text("sampler.async_ratio: [0.1, 0.3, 0.5]\n")
    options = ("--samples", "6", "--out", "out", "--space", "space.yaml")
    assert run_sweep("--trials", "2", *options).returncode == 0
    done = run_sweep("--trials", "5", *options, "--resume")
    assert done.returncode == 0, done.stderr
    assert sorted(pd.read_csv(tmp_path / "out" / "results.csv")["sampler.async_ratio"]) == [0, 0.1, 0.2, 0.3, 0.5]


def start_and_signal(command, results, rows, number):
    """Run a sweep until it has so many rows, then send it a signal; its exit code and output."""
    process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not results.exists() or len(pd.read_csv(results)) < rows):
        time.sleep(0.02)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    return process.returncode, output


def test_a_killed_sweep_resumes_and_leaves_results_plot_and_tracked_runs(
    sweep_command, run_sweep, tmp_path, tiny_checkpoint
):
    """The second command asks for one trial more."""
    options, results = ("--samples", "4", "--out", "out"), tmp_path / "out" / "results.csv"
    code, output = start_and_signal(sweep_command(*options, "--trials", "4"), results, 1, signal.SIGKILL)
    assert code == -signal.SIGKILL, output
    before = pd.read_csv(results).set_index("trial")
    assert 1 <= len(before) < 4
    assert_complete(run_sweep(*options, "--trials", "5", "--resume"), 5, tmp_path, tiny_checkpoint)
    after = pd.read_csv(results).set_index("trial")
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    assert not after.duplicated(KEYS).any()


@pytest.mark.slow
def test_a_stopped_and_a_killed_sweep_resume_without_repeating_anything(sweep_command, run_sweep, tmp_path):
    options = ("--trials", "9", "--samples", "6", "--out", "out")
    results = tmp_path / "out" / "results.csv"
    code, output = start_and_signal(sweep_command(*options), results, 1, signal.SIGINT)
    assert code == 130, output
    assert "--resume" in output
    assert tracked(tmp_path)[0][0].info.status == "KILLED"
    stopped = len(pd.read_csv(results))
    code, _ = start_and_signal(sweep_command(*options, "--resume"), results, stopped + 2, signal.SIGKILL)
    assert code == -signal.SIGKILL
    before = pd.read_csv(results).set_index("trial")
    assert stopped + 2 <= len(before) < 9
    done = run_sweep(*options, "--resume")
    assert done.returncode == 0, done.stderr
    after = pd.read_csv(results).set_index("trial")
    assert len(after) == 9
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    assert not after.duplicated(KEYS).any()
    parents, trials = tracked(tmp_path)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert sorted(run.data.tags["ead.trial"] for run in trials) == sorted(after.index)


def test_a_used_folder_is_refused_in_one_sentence(run_sweep, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("x")
    done = run_sweep("--out", "out")
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "is not empty; choose another --out" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious.txt"]


def test_a_recipe_key_of_the_space_is_checked(run_sweep, tmp_path):
    (tmp_path / "space.yaml").write_text("sampler.async_ratio: [0.1, 1.7]\n")
    done = run_sweep("--space", "space.yaml", "--out", "out")
    assert done.returncode == 2
    assert "sampler.async_ratio: must be less than or equal to 1, not 1.7." in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_trial_that_is_out_of_time_is_recorded_with_its_reason(run_sweep, tmp_path):
    """The synchronous one is what the trials share, so that it takes no time of its own."""
    done = run_sweep("--trials", "2", "--samples", "4", "--out", "out", "--trial-minutes", "0.00001")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["outcome"].tolist() == ["finished", "stopped"]
    assert table["reason"].tolist()[1].startswith("it took longer than 1e-05 minutes")
    _, trials = tracked(tmp_path)
    (stopped,) = (run for run in trials if run.info.status == "FAILED")
    assert stopped.data.tags["ead.reason"].startswith("it took longer")


@pytest.mark.slow
def test_a_sweep_after_two_goals_leaves_a_front_a_report_and_presets(run_sweep, tmp_path, tiny_checkpoint):
    """The short form is test_sweep_report.py, whose trials are made up."""
    space = {
        "sampler.async_ratio": [0.0, 0.2],
        "sampler.steps": {"type": "int", "low": 5, "high": 40, "log": True},
        "sampler.interval": {"type": "choice", "choices": [2, 8], "unless": {"sampler.async_ratio": 0}},
        "sampler.temperature": {"type": "float", "low": 0.2, "high": 1.0},
    }
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    goals = ("--objectives", "validity_x_uniqueness:max,calls:min", "--constraint", "validity>=0.1")
    options = ("--samples", "6", "--out", "out", "--space", "space.yaml", *goals, "--save-presets", "copy")
    assert run_sweep("--trials", "4", *options).returncode == 0
    done = run_sweep("--trials", "8", *options, "--resume")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    measured = table[table["outcome"] == "finished"]
    assert len(measured) == 8
    assert not measured.duplicated([*space]).any()
    assert measured["sampler.interval"].isna().equals(measured["sampler.async_ratio"] == 0)
    assert set(table["outcome"]) <= {"finished", "refused"}
    presets = load_checkpoint(copy).presets
    assert presets.fast["sampler.steps"] == measured.loc[measured["nfe_per_molecule"].idxmin(), "sampler.steps"]
    assert "Recommended settings" in (tmp_path / "out" / "report.html").read_text()
    [parent], trials = tracked(tmp_path)
    assert parent.info.status == "FINISHED"
    assert len(trials) == 8
