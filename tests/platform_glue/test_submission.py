"""Real submissions to a real cluster that demands a token, in a home and with ports of its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from ead_platform.cluster.submission import submit

from ead_core.errors import EADError

pytestmark = pytest.mark.ray

GCS = "EAD_TEST_GCS"  # where the cluster's own address is handed on
ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
SUBMIT = [sys.executable, str(ROOT / "platform" / "jobs" / "submit.py")]


@pytest.fixture(scope="module")
def token_cluster(free_port):
    """Dashboard address and environment of a cluster with a token, in a home and session folder of its own."""
    home = Path(tempfile.mkdtemp(prefix="ead", dir="/tmp"))  # Ray's sockets bear no longer path
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), "PATH": f"{Path(RAY).parent}:{environment['PATH']}"}
    environment |= {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000"}  # if it is busy
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, capture_output=True, check=True)
    dashboard = free_port()
    address = f"http://127.0.0.1:{dashboard}"
    head = f"start --head --block --num-cpus 2 --object-store-memory 80000000 --disable-usage-stats --temp-dir {home}"
    gcs = free_port()
    ports = f"--port {gcs} --ray-client-server-port {free_port()} --dashboard-port {dashboard}"
    ports += f" --dashboard-agent-listen-port {free_port()}"  # its default may be taken, and jobs need it
    with (home / "log").open("w") as log:
        command = [RAY, *head.split(), *ports.split(), "--dashboard-host", "127.0.0.1"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        await_dashboard(process, address, home / "log")
        yield address, environment | {GCS: f"127.0.0.1:{gcs}"}
    finally:
        end(process)
        shutil.rmtree(home, ignore_errors=True)


def await_dashboard(process, address, log):
    """Until it answers, which it does with a refusal to us who have no token."""
    for _ in range(3000):
        assert process.poll() is None, log.read_text()
        try:
            urlopen(f"{address}/api/version", timeout=5).close()
        except HTTPError as error:
            if error.code == 401:
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(log.read_text())


def end(process):
    """End the cluster and whatever of its processes is left; never those of another one."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for survivor in alive:
        survivor.kill()


IMPORTS = "import ead_core, ead_platform; print('imported', ead_core.__file__, ead_platform.__file__)"
PROBE = """
import sys, ray, ead_core, ead_platform
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings

@ray.remote
def imported():
    import ead_core, ead_platform
    return ead_core.__file__, ead_platform.__file__

with ray_session(Settings.from_environment()):
    print("imported", ead_core.__file__, ead_platform.__file__, *ray.get(imported.remote()))
open(sys.argv[1], "w").write("written by the job")
"""


def start(command, environment):
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process):
    out, messages = process.communicate(timeout=240)
    return process.returncode, out, messages


@pytest.fixture(scope="module")
def ended(token_cluster):
    """Exit code, output, and messages of submissions that run at the same time, because each takes long."""
    address, environment = token_cluster
    for_ray = environment | {"RAY_AUTH_MODE": "token", "RAY_API_SERVER_ADDRESS": address}
    ours = [*SUBMIT, "--address", address, "--"]
    plain = f"job submit --runtime-env {ROOT}/platform/clusters/runtime_env.yaml --working-dir {ROOT} --".split()
    processes = {
        "failing": start([*ours, "sh", "-c", "echo before it; exit 7"], environment | {"RAY_AUTH_MODE": "disabled"}),
        "interrupted": start([*ours, "sh", "-c", "echo on its way; sleep 600"], environment),
    }
    for line in processes["interrupted"].stdout:
        if line == "on its way\n":
            break
    processes["plain ray"] = start([RAY, *plain, "python", "-c", IMPORTS], for_ray)
    processes["interrupted"].send_signal(signal.SIGINT)
    results = {"interrupted": outcome(processes.pop("interrupted"))}
    shown = re.search(r"^stop with +(.*)$", results["interrupted"][2], re.M)
    processes["stop"] = start(["sh", "-c", shown.group(1) if shown else "false"], environment)
    return results | {name: outcome(process) for name, process in processes.items()}


def test_a_job_connects_imports_the_shipped_code_everywhere_and_writes_where_it_was_told(token_cluster, tmp_path):
    (address, environment), written = token_cluster, tmp_path / "file"
    command = [*SUBMIT, "--address", address, "--", "python", "-c", PROBE, str(written)]
    code, out, messages = outcome(start(command, environment))
    assert code == 0, out + messages
    assert re.search(
        r"^imported (\S+/_ray_pkg_\w+)(/ead_core/\S+) \1(/platform/ead_platform/\S+) \1\2 \1\3$", out, re.M
    )
    assert written.read_text() == "written by the job"


@pytest.mark.slow
def test_plain_ray_job_submit_works_with_the_same_environment(ended):
    code, out, messages = ended["plain ray"]
    assert code == 0, out + messages
    assert re.search(r"^imported (\S+/_ray_pkg_\w+)/ead_core/\S+ \1/platform/ead_platform/\S+$", out, re.M)


@pytest.mark.slow
def test_a_failing_job_ends_with_one_and_a_sentence(ended):
    code, out, messages = ended["failing"]
    assert code == 1
    assert "before it\n" in out
    assert re.search(r"^submit: job raysubmit_\w+ failed: its command ended with exit code 7\.\n\Z", messages, re.M)


@pytest.mark.slow
def test_an_interrupted_following_leaves_the_job_and_shows_how_to_stop_it(ended):
    code, _, messages = ended["interrupted"]
    assert code == 130
    assert "Traceback" not in messages
    assert "the job goes on" in messages
    code, out, messages = ended["stop"]
    assert code == 0, messages
    assert "was stopped" in out + messages


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("", "demands a token and there is none here: copy the cluster's ~/.ray/auth_token to {home}/.ray/auth_token"),
        ("wrong", "demands another token than the one in RAY_AUTH_TOKEN; `ray get-auth-token`"),
    ],
)
def test_a_missing_and_a_wrong_token_are_one_sentence_each(token_cluster, monkeypatch, tmp_path, token, told):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    with pytest.raises(EADError, match=re.escape(told.format(home=tmp_path))):
        submit(token_cluster[0], ["true"], ROOT)


JOIN = """
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
with ray_session(Settings.from_environment()):
    print("joined")
"""


def test_ray_address_joins_a_cluster_that_demands_the_stored_token(token_cluster):
    environment = token_cluster[1] | {"RAY_ADDRESS": token_cluster[1][GCS], "RAY_AUTH_MODE": "token"}
    code, out, messages = outcome(start([sys.executable, "-c", JOIN], environment))
    assert (code, out) == (0, "joined\n"), messages
