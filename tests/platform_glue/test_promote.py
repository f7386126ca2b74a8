"""Promotion as real processes on a Ray cluster: exit codes, evidence, and what an interruption keeps."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
OPEN = ("promotion.num=24", "promotion.floor={}", "promotion.gain={}")


@pytest.fixture
def environment(cluster, tmp_path, store):
    return {
        **os.environ,
        "RAY_ADDRESS": cluster,
        "MLFLOW_TRACKING_URI": store,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "EAD_EDGE_KERNEL": "torch",
    }


@pytest.fixture
def run(python, environment, tmp_path):
    def start(*command):
        done = subprocess.run(
            [python, *map(str, command)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return start


@pytest.fixture
def promote(run):
    return lambda *options: run(ROOT / "platform" / "jobs" / "promote.py", *options)


def runs_of(environment, kind):
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("ead")
    return client.search_runs([experiment.experiment_id], f"tags.`ead.kind` = '{kind}'")


def test_a_first_champion_is_promoted_and_gives_molecules(promote, run, environment, tiny_checkpoint, tmp_path):
    code, told = promote(tiny_checkpoint, *OPEN, "--actors", 1)
    assert code == 0, told
    assert "promoted: ead-qm9@champion is version 1" in told
    (record,) = runs_of(environment, "promotion")
    assert (record.info.status, record.data.tags["ead.to"]) == ("FINISHED", "1")
    assert sampled(run, tmp_path)


def sampled(run, tmp_path):
    """Whether the champion gives molecules under its address."""
    code, told = run("-m", "ead_core.cli", "sample", "models:/ead-qm9@champion", "--num", 2, "--out", "m.npz")
    assert code == 0, told
    return (tmp_path / "m.npz").is_file()


@pytest.mark.slow
def test_a_first_champion_a_refusal_and_a_sample_of_the_champion(promote, run, environment, tiny_checkpoint, tmp_path):
    code, told = promote(tiny_checkpoint, *OPEN)
    assert code == 0, told
    assert "promoted: ead-qm9@champion is version 1" in told
    few = "promotion.sampler={policy: synchronous, steps: 10}"  # nothing stable comes of ten steps either
    code, told = promote("qm9-small", *OPEN, "promotion.gain.molecule_stability=0.0", few, "--actors", 1)
    assert code == 3, told
    assert "refused: ead-qm9@champion stays version 1; molecule stability" in told
    record = runs_of(environment, "promotion")[0]
    assert (record.data.tags["ead.from"], record.data.tags["ead.to"]) == ("1", "2")
    assert record.data.metrics["candidate.nfe"] == record.data.metrics["champion.nfe"] == 11
    assert record.data.params["promotion.sampler.steps"] == "10"
    assert sampled(run, tmp_path)


@pytest.mark.slow
def test_what_was_sampled_before_an_interruption_is_not_sampled_again(
    python, promote, environment, tiny_checkpoint, tmp_path
):
    options = ("promotion.num=600", *OPEN[1:], "promotion.sampler.policy=synchronous")
    script = [python, str(ROOT / "platform" / "jobs" / "promote.py"), str(tiny_checkpoint), *options]
    process = subprocess.Popen(
        [*script, "--actors", "1"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(tmp_path.rglob("shard-*.parquet")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 130, told
    assert "Stopped; What was sampled and measured is kept. The same command continues." in told
    assert runs_of(environment, "promotion") == []
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("shard-*.parquet")}
    assert 1 <= len(kept) < 5
    code, told = promote(tiny_checkpoint, *options)
    assert code == 0, told
    assert "of 600 molecules are there already" in told
    assert "is known as version 1" in told
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_store_that_does_not_answer_is_one_sentence(run, environment, free_port):
    address = f"http://127.0.0.1:{free_port()}"
    environment |= {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    code, told = run("-m", "ead_core.cli", "sample", "models:/ead-qm9@champion")
    assert code == 2, told
    assert told.startswith(f"ead: the MLflow store {address} cannot be used (")
    assert told.count("\n") == 1
