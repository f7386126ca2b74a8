"""Joining a cluster: what is known within seconds instead of minutes; and a private one, which nobody else reaches."""

import os
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest
import ray
from ead_platform.cluster import auth_token, knocking, local_nodes
from ead_platform.cluster.auth_token import keep_token_private, stored_token
from ead_platform.cluster.knocking import require_cluster
from ead_platform.cluster.session import expect_cluster, join, start_private
from ead_platform.cluster.settings import Settings
from ray._private import ray_constants
from ray.core.generated.gcs_service_pb2 import CheckAliveReply, CheckAliveRequest
from typer.testing import CliRunner

from ead_core.errors import EADError
from serve.__main__ import app as service

NODE = "ab" * 28


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    """A home without a token, a folder of Ray's own without a record, and a machine with one node."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # so that what is set meanwhile is taken back
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(knocking, "get_node_ip_address", lambda: "127.0.0.1")
    set_nodes(monkeypatch, [("--node_id=" + NODE,)])


def set_nodes(monkeypatch, options):
    """Lets this machine have node processes with these options, and others."""
    lines = [["/ray/core/raylet", *each] for each in options]
    others = [None, [], ["python", "--node_id=ee", "--gcs-address=10.0.0.9:1"]]
    processes = [SimpleNamespace(info={"cmdline": line}) for line in [*others, *lines]]
    monkeypatch.setattr(local_nodes.psutil, "process_iter", lambda attributes: iter(processes))


class Gcs(grpc.GenericRpcHandler):
    """As much of Ray's head service as is asked before joining; with a token it demands it."""

    def __init__(self, token=None, nodes=(NODE,), late=0):
        self.token, self.nodes, self.late = token, nodes, late

    def service(self, call):
        if not call.method.endswith("NodeInfoGcsService/CheckAlive"):
            return None
        sent = dict(call.invocation_metadata).get("authorization")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.answer(sent, request, context),
            CheckAliveRequest.FromString,
            CheckAliveReply.SerializeToString,
        )

    def answer(self, sent, request, context):
        if self.token and sent != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        self.late -= 1
        alive = [self.late < 0 and node.hex() in self.nodes for node in request.node_ids]
        return CheckAliveReply(ray_version=ray.__version__, raylet_alive=alive)


@pytest.fixture
def gcs():
    """Starts one; gives its address."""
    servers = []

    def start(**options):
        server = grpc.server(ThreadPoolExecutor(2), handlers=[Gcs(**options)])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        servers.append(server)
        return address

    yield start
    for server in servers:
        server.stop(None)


def refusal(address):
    start = time.monotonic()
    with pytest.raises(EADError) as told:
        join(address)
    assert time.monotonic() - start < 10
    assert "\n" not in str(told.value)
    assert not ray.is_initialized()
    return str(told.value)


def store_token(home, text="secret"):
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(text)


@pytest.mark.parametrize(
    "address",
    ["garbage", ":", "host:", ":6379", "host:0", "host:99999", "host:port", "http://127.0.0.1:8265", "ray://host"],
)
def test_what_is_no_address_is_told_so(address):
    assert f"RAY_ADDRESS={address} cannot be used: give `auto` or host:port" in refusal(address)


@pytest.mark.parametrize("address", ["{}", "ray://{}", "nowhere.invalid:6379"])
def test_an_address_where_nobody_listens_is_told_so(address, free_port):
    address = address.format(f"127.0.0.1:{free_port()}")
    assert f"no Ray cluster answers at RAY_ADDRESS={address} (" in refusal(address)


def test_a_stale_record_of_a_cluster_is_told_so(tmp_path, free_port):
    gone = f"127.0.0.1:{free_port()}"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(gone)
    assert f"RAY_ADDRESS=auto ({gone}, by Ray's record of its last cluster here) ([Errno 111]" in refusal("auto")


@pytest.mark.parametrize("record", [None, "", "half a rec"])
def test_no_record_of_a_cluster_or_an_unreadable_one_is_told_so(tmp_path, record):
    if record is not None:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(record)
    assert "RAY_ADDRESS=auto finds no Ray cluster on this machine; start one" in refusal("auto")


def test_what_listens_but_does_not_answer_is_told_so(monkeypatch):
    monkeypatch.setattr(knocking, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert f"what listens at RAY_ADDRESS={address} does not answer as a Ray cluster" in refusal(address)


def test_what_answers_but_is_no_ray_is_told_so():
    other = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{other.add_insecure_port('127.0.0.1:0')}"
    other.start()
    assert "does not answer as a Ray cluster (unimplemented)" in refusal(address)
    other.stop(None)


def test_a_token_that_is_missing_wrong_unused_or_too_much_is_told_so(gcs, monkeypatch, tmp_path):
    locked, open_ = gcs(token="secret"), gcs()
    assert f"RAY_ADDRESS={locked} demands a token and there is none here" in refusal(locked)
    store_token(tmp_path)
    assert f"RAY_ADDRESS={locked} demands a token; set RAY_AUTH_MODE=token" in refusal(locked)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    require_cluster(locked)
    assert f"RAY_ADDRESS={open_} demands no token; unset RAY_AUTH_MODE" in refusal(open_)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    assert f"RAY_ADDRESS={locked} demands another token than the one in RAY_AUTH_TOKEN" in refusal(locked)


def test_what_auto_finds_gets_the_token_that_it_wants(gcs, monkeypatch, tmp_path):
    store_token(tmp_path)
    for address, mode in ((gcs(token="secret"), None), (gcs(), "disabled")):
        set_nodes(monkeypatch, [(f"--node_id={NODE}", f"python worker.py --gcs-address={address} --x=y")])
        require_cluster("auto")
        assert os.environ.get("RAY_AUTH_MODE") == mode


@pytest.mark.parametrize(
    ("running", "record", "found"),
    [
        ([], "", None),
        ([], "10.0.0.1:6379", "10.0.0.1:6379"),
        (["10.0.0.2:6379"], "10.0.0.1:6379", "10.0.0.2:6379"),
        (["10.0.0.2:6379", "10.0.0.3:6379"], "10.0.0.1:6379", "10.0.0.1:6379"),
        (["10.0.0.2:6379", "10.0.0.3:6379"], None, "10.0.0.2:6379"),
    ],
)
def test_auto_is_the_cluster_that_ray_itself_would_take(monkeypatch, tmp_path, running, record, found):
    set_nodes(monkeypatch, [(f"--gcs-address={address}",) for address in running])
    if record is not None:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(record)
    assert local_nodes.current_cluster() == found


def test_inside_a_job_auto_is_the_cluster_of_the_job(gcs, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", gcs())
    require_cluster("auto")


def test_a_node_of_the_cluster_must_be_on_this_machine_and_is_waited_for(gcs, monkeypatch):
    monkeypatch.setattr(knocking, "PAUSE", 0.02)
    require_cluster(gcs(late=3))
    monkeypatch.setattr(knocking, "PAUSE", knocking.ANSWER_SECONDS)  # asks once, however slow this machine is
    address = gcs(nodes=())
    assert f"this machine has no node of the cluster at RAY_ADDRESS={address}" in refusal(address)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_reads_the_token(tmp_path):
    file = tmp_path / ".ray" / "auth_token"
    keep_token_private()
    assert not file.exists()
    keep_token_private(create=True)
    token = stored_token()
    assert len(token) == 64
    assert mode_of(file) == 0o600
    file.chmod(0o644)
    keep_token_private(create=True)
    assert mode_of(file) == 0o600
    assert stored_token() == token


def test_a_token_from_elsewhere_makes_none_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    keep_token_private(create=True)
    assert not (tmp_path / ".ray").exists()
    assert auth_token.stored_token() == "given"


def test_a_home_that_cannot_be_written_is_no_obstacle(monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    keep_token_private(create=True)
    assert auth_token.stored_token() is None


def test_local_asks_for_a_private_cluster(monkeypatch):
    for given, taken in (("local", None), ("", ""), ("auto", "auto"), ("127.0.0.1:6379", "127.0.0.1:6379")):
        monkeypatch.setenv("RAY_ADDRESS", given)
        assert Settings.from_environment().ray_address == taken


def test_a_ray_that_does_not_start_is_told_so(monkeypatch):
    """For a node that does not come up in time, as on a busy machine, Ray raises a bare Exception."""

    def init(**options):
        assert options["address"] == "local"
        assert options["namespace"] == "serve"
        assert not ray_constants.ENABLE_RAY_CLUSTER
        raise Exception("The current node timed out during startup.\nPerhaps …")

    monkeypatch.setattr(ray, "init", init)
    before = ray_constants.ENABLE_RAY_CLUSTER
    with pytest.raises(EADError, match=r"Ray cannot be started .* \(The current node timed out during startup\. Per"):
        start_private(namespace="serve")
    assert before == ray_constants.ENABLE_RAY_CLUSTER


def test_what_a_cluster_refuses_when_it_is_joined_is_told_so(gcs, monkeypatch):
    def init(**options):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.50")

    monkeypatch.setattr(ray, "init", init)
    address = gcs()
    assert refusal(address) == (
        f"the Ray cluster at RAY_ADDRESS={address} cannot be joined (Version mismatch: The cluster was started with: "
        "Ray: 2.50)."
    )


@pytest.mark.parametrize("inside_job", [True, False])
def test_a_program_refuses_an_address_at_its_start_but_not_inside_a_job(inside_job, free_port):
    settings = Settings("", None, f"127.0.0.1:{free_port()}", inside_job)
    if inside_job:  # which has a cluster
        expect_cluster(settings)
    else:
        with pytest.raises(EADError, match="no Ray cluster answers at RAY_ADDRESS"):
            expect_cluster(settings)
    expect_cluster(Settings("", None, None, False))


def test_the_service_refuses_an_address_before_it_loads_a_model(monkeypatch, free_port):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    done = CliRunner().invoke(service, ["--port", str(free_port()), "checkpoint=nowhere"])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"serve: no Ray cluster answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']} (")
    assert done.stderr.count("\n") == 1


PRIVATE = """
import psutil
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
with ray_session(Settings.from_environment()):
    for member in (psutil.Process(), *psutil.Process().children(recursive=True)):
        for each in member.net_connections("inet"):
            if each.status == psutil.CONN_LISTEN:
                print(each.laddr.ip.removeprefix("::ffff:"))
"""


@pytest.mark.ray
def test_a_private_cluster_listens_on_loopback_only_and_its_token_is_private(tmp_path):
    """Where the machine has an address of a network, Ray left to itself opens a dozen ports there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PRIVATE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    addresses = done.stdout.split()
    assert len(addresses) > 5
    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert mode_of(tmp_path / ".ray" / "auth_token") == 0o600
