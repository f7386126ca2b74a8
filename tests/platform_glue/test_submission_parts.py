"""What a submission sends, and what it tells the user when something is wrong: against a stand-in for the cluster."""

import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ead_platform.cluster import submission
from ead_platform.cluster.submission import Job, follow, submit
from ray.job_submission import JobStatus
from typer.testing import CliRunner

from ead_core.errors import EADError

ROOT = Path(__file__).parents[2]
SUBMIT = [sys.executable, str(ROOT / "platform" / "jobs" / "submit.py")]


class Dashboard(ThreadingHTTPServer):
    """As much of Ray's dashboard as a submission talks to, and what it was sent.

    `upload_status` answers an upload, and a job is taken only after so many `refusals` of a cluster just started.
    """

    def __init__(self, upload_status=200, refusals=0):
        super().__init__(("127.0.0.1", 0), DashboardRequest)
        self.upload_status = upload_status
        self.refusals = refusals
        self.authorizations = []
        self.job = None
        self.address = f"http://127.0.0.1:{self.server_port}"


class DashboardRequest(BaseHTTPRequestHandler):
    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def sent(self):
        self.server.authorizations.append(self.headers.get("Authorization", ""))
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        self.sent()
        if self.path == "/api/version":
            self.answer(200, {"version": "4", "ray_version": "2.60.0"})
        else:
            self.answer(404, "no such package")

    def do_PUT(self):
        self.sent()
        self.answer(self.server.upload_status, "")

    def do_POST(self):
        self.server.job = json.loads(self.sent())
        self.server.refusals -= 1
        if self.server.refusals >= 0:
            self.answer(500, "No available agent to submit job, please try again later.")
        else:
            self.answer(200, {"job_id": "one", "submission_id": "one"})

    def log_message(self, *_):
        pass


@pytest.fixture
def dashboard():
    servers = []

    def serve(**options):
        servers.append(Dashboard(**options))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return servers[-1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    """No token but the test's, and what `submit` writes into the environment is taken back."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://to.be.restored")


def refusal(address, command=("true",), working_dir=ROOT):
    with pytest.raises(EADError) as told:
        submit(address, list(command), working_dir)
    sentence = str(told.value)
    assert "\n" not in sentence
    return sentence


def test_the_job_carries_the_command_the_import_path_the_revision_and_the_tracking_store(dashboard, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("EAD_REVISION", "abc-dirty")
    cluster = dashboard()
    job = submit(cluster.address, ["python", "-c", "print('a  b')"], ROOT)
    assert cluster.job["entrypoint"] == """python -c 'print('"'"'a  b'"'"')'"""
    assert cluster.job["runtime_env"]["env_vars"] == {
        "PYTHONPATH": "platform",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "EAD_REVISION": "abc-dirty",
    }
    assert cluster.job["runtime_env"]["working_dir"].startswith("gcs://")
    assert job.ray_command("stop") == f"RAY_API_SERVER_ADDRESS={cluster.address} ray job stop one"


@pytest.mark.parametrize(
    "uri",
    ["postgresql://ead:secret@host/runs", "https://token@mlflow.org", "http://h:5000/?password=secret", "http://u:p@h"],
)
def test_a_password_of_the_tracking_store_never_travels_with_a_job(dashboard, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    cluster = dashboard()
    told = refusal(cluster.address)
    assert told.startswith("MLFLOW_TRACKING_URI holds a password")
    assert uri not in told
    assert cluster.authorizations == []


def test_a_token_is_sent_from_where_ray_would_take_it(dashboard, monkeypatch, tmp_path):
    cluster = dashboard()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-the-home\n")
    (tmp_path / "elsewhere").write_text("of-the-path")
    job = submit(cluster.address, ["true"], ROOT)
    assert set(cluster.authorizations) == {"Bearer of-the-home"}
    assert job.ray_command("stop").startswith("RAY_AUTH_MODE=token ")
    for name, value, expected in (
        ("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"), "of-the-path"),
        ("RAY_AUTH_TOKEN", "of-the-variable", "of-the-variable"),
    ):
        monkeypatch.setenv(name, value)
        cluster.authorizations.clear()
        submit(cluster.address, ["true"], ROOT)
        assert set(cluster.authorizations) == {f"Bearer {expected}"}


def test_a_cluster_without_a_token_is_served_even_if_the_shell_asks_for_one(dashboard):
    """Ray's own client ends with a traceback here. RAY_ADDRESS, which Ray would prefer to --address, is no matter."""
    cluster = dashboard()
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_ADDRESS": "192.0.2.1:6379"}
    command = [*SUBMIT, "--address", cluster.address + "/", "--no-wait", "--", "true"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one\n"
    assert f"RAY_API_SERVER_ADDRESS={cluster.address} ray job logs --follow one" in done.stderr


def test_a_cluster_just_started_is_given_time_but_not_for_ever(dashboard, monkeypatch):
    assert submit(dashboard(refusals=2).address, ["true"], ROOT).id == "one"
    monkeypatch.setattr(submission, "START_SECONDS", 0)
    assert "nobody to run jobs for 0 seconds" in refusal(dashboard(refusals=2).address)


def test_what_cannot_be_submitted_is_one_sentence(dashboard, tmp_path, free_port):
    nobody = f"http://127.0.0.1:{free_port()}"
    assert f"no Ray cluster answers at {nobody} ([Errno 111] Connection refused)" in refusal(nobody)
    for malformed in ("127.0.0.1:8265", "ray://127.0.0.1:10001", "http://", "http://host:99999", "auto"):
        assert f"--address {malformed} must look like http://127.0.0.1:8265" in refusal(malformed)
    assert "no command given" in refusal(nobody, command=())
    assert f"{tmp_path} is no checkout of this repository" in refusal(nobody, working_dir=tmp_path)
    assert f"the package of {ROOT} is too large" in refusal(dashboard(upload_status=413).address)
    assert "the cluster did not take the job: Request failed with status code 500" in refusal(
        dashboard(upload_status=500).address
    )


def test_what_is_no_dashboard_is_told_apart_from_one(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # speaks no HTTP, like the port of `ray start --port`

        def talk():
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"\x00\x00\x06 not HTTP\r\n\r\n")

        threading.Thread(target=talk, daemon=True).start()
        assert "is no Ray dashboard" in refusal(f"http://127.0.0.1:{server.getsockname()[1]}")


class Ended:
    """A client whose job has ended, or whose connection breaks."""

    def __init__(self, status, message=None, error=None, exit_code=None):
        self.details = SimpleNamespace(status=status, message=message, driver_exit_code=exit_code)
        self.error = error

    async def tail_job_logs(self, _):
        yield "a line\n"
        if self.error:
            raise self.error

    def get_job_info(self, _):
        return self.details


DOWNLOAD = "Traceback:\nOSError: Failed to download runtime_env file package gcs://_ray_pkg_1.zip from the GCS.\nTry."


@pytest.mark.parametrize(
    ("ended", "sentence"),
    [
        (Ended(JobStatus.SUCCEEDED), None),
        (Ended(JobStatus.STOPPED), "job one was stopped."),
        (Ended(JobStatus.FAILED, "Traceback:\n  pip\nERROR: no such package\n"), "ran: ERROR: no such package"),
        (Ended(JobStatus.FAILED, DOWNLOAD), "before its command ran: a file changed while it was packed"),
        (Ended(JobStatus.FAILED), "the cluster gives no reason."),
        (Ended(JobStatus.FAILED, exit_code=7), "job one failed: its command ended with exit code 7."),
    ],
)
def test_every_end_of_a_job_has_its_sentence(ended, sentence, capsys):
    told = follow(Job(ended, "one", ""))
    assert capsys.readouterr().out == "a line\n"
    assert told is None if sentence is None else sentence in told


@pytest.mark.parametrize(
    "broken", [Ended(JobStatus.RUNNING), Ended(JobStatus.RUNNING, error=ConnectionResetError("gone"))]
)
def test_a_broken_connection_is_no_failed_job(broken):
    with pytest.raises(EADError, match=r"the log of job one broke off .* follow it again with: A=b ray job logs"):
        follow(Job(broken, "one", "A=b"))


@pytest.mark.parametrize(
    ("ended", "exit_code", "sentence"),
    [
        (Ended(JobStatus.SUCCEEDED), 0, ""),
        (Ended(JobStatus.FAILED, exit_code=7), 1, "submit: job one failed: its command ended with exit code 7."),
        (Ended(JobStatus.RUNNING, error=KeyboardInterrupt()), 130, "the job goes on, stop it as shown above."),
    ],
)
def test_a_submission_follows_its_job_and_shows_how_to_stop_it(monkeypatch, ended, exit_code, sentence):
    script = runpy.run_path(SUBMIT[1])
    monkeypatch.setitem(script["main"].__globals__, "submit", lambda *_: Job(ended, "one", "A=b"))
    done = CliRunner().invoke(script["app"], ["--", "true"])
    assert done.exit_code == exit_code
    assert "stop with    A=b ray job stop one\n" in done.stderr
    assert sentence in done.stderr
