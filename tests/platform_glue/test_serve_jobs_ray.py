"""A job on a real Ray cluster, end to end: its worker is killed in the midst, and nothing is lost or made twice.

The short form is test_serve_jobs.py, whose workers are threads of the test.
"""

import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import ray
import requests
from ead_platform.cluster.session import start_private
from ray import serve

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.sampling.generation import sample
from serve.app import build
from serve.settings import ServeSettings

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SECONDS = 240  # on a busy machine
SLOW = {"sampler.policy": "synchronous", "sampler.corrector": 8, "sampler.corrector_levels": [0, 1]}
BODY = {"num": 60, "seed": 7, "sizes": [6], "sampler": SLOW}


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def settings(tiny_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    return ServeSettings(checkpoint=str(tiny_checkpoint), jobs_folder=str(folder), job_shard=4)


@pytest.fixture(scope="module")
def url(settings, free_port):
    """A service on a cluster of its own, since processes of it are killed."""
    port = free_port()
    environment = {"env_vars": {"PYTHONPATH": f"{ROOT}:{ROOT}/platform"}}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
            patch.setenv(name, "")  # so that what a private cluster sets is taken back
            patch.delenv(name)
        start_private(num_cpus=2, log_to_driver=False, namespace="serve", runtime_env=environment)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(build(settings), name=f"jobs-{port}", route_prefix="/jobs")
        yield f"http://127.0.0.1:{port}/jobs"
        serve.shutdown()
        ray.shutdown()


def worker_of(url):
    """The process that works at jobs; no other cluster on this machine has an application of this name."""
    name = f"jobs-{urlsplit(url).port}:Background"
    return next(process for process in psutil.process_iter(["cmdline"]) if name in "".join(process.info["cmdline"]))


def test_a_job_outlives_its_worker(url, settings, tiny_checkpoint):
    taken = requests.post(f"{url}/v1/jobs", json=BODY, timeout=60)
    assert taken.status_code == 202, taken.text
    here = url.removesuffix("/jobs") + taken.headers["location"]

    def told():
        return requests.get(here, timeout=60).json()

    wait_for(lambda: told()["progress"]["delivered"])
    shards = sorted(Path(settings.folder_of(taken.json()["id"])).glob("shard-*.parquet"))
    before = {shard: (shard.stat().st_mtime_ns, shard.read_bytes()) for shard in shards}
    worker_of(url).kill()
    assert told()["state"] == "running"
    wait_for(lambda: told()["state"] != "running")
    assert (told()["state"], told()["problem"], told()["progress"]["delivered"]) == ("done", None, 60)
    assert before
    assert all((shard.stat().st_mtime_ns, shard.read_bytes()) == kept for shard, kept in before.items())
    page = requests.get(f"{here}/molecules", timeout=60).json()
    alone = sample(load_checkpoint(tiny_checkpoint), 60, seed=7, sizes=[6], **{k[8:]: v for k, v in SLOW.items()})
    assert [molecule["id"] for molecule in page["molecules"]] == list(range(60))
    for molecule, expected in zip(page["molecules"], alone, strict=True):
        assert np.array(molecule["positions"]) == pytest.approx(expected.positions, abs=1e-3)


def test_a_job_is_cancelled_and_its_actors_end(url):
    taken = requests.post(f"{url}/v1/jobs", json={**BODY, "num": 5000}, timeout=60).json()
    here = f"{url}/v1/jobs/{taken['id']}"
    wait_for(lambda: requests.get(here, timeout=60).json()["progress"]["delivered"])
    assert requests.delete(here, timeout=60).json()["state"] == "cancelled"
    wait_for(lambda: ray.available_resources().get("CPU") == 1)  # the other is the model's
    assert requests.get(f"{here}/molecules?limit=1", timeout=60).json()["molecules"]


def test_errands_are_done_beside(url):
    headers = {"Content-Type": "chemical/x-daylight-smiles"}
    told = requests.post(f"{url}/v1/predict", data="CCO ethanol", headers=headers, timeout=SECONDS)
    assert told.status_code == 200, told.text
    assert told.json()["molecules"][0]["formula"] == "C2H6O"
    refused = requests.post(f"{url}/v1/predict", data="x", headers=headers, timeout=SECONDS)
    assert (refused.status_code, "no molecule" in refused.json()["detail"]) == (400, True)
    cost = requests.post(f"{url}/v1/estimate", json=BODY, timeout=SECONDS)
    assert cost.json()["measured_on"] == 32
