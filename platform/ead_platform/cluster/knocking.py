"""Checking in seconds whether a Ray cluster can be joined: Ray itself would try for minutes."""

import os
import socket
import time
from typing import NamedTuple

import grpc
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.util import get_node_ip_address

from ead_core.errors import EADError, one_line
from ead_platform.cluster import local_nodes
from ead_platform.cluster.auth_token import stored_token, token_refused

KNOCK_SECONDS, ANSWER_SECONDS = 3, 6  # to connect, and then to answer
PAUSE = 0.5  # before asking again
CLIENT = "ray://"
LOCALHOSTS = ("localhost", "127.0.0.1", "::1")
MODE = "RAY_AUTH_MODE"


class _Answer(NamedTuple):
    """What the cluster says: a code of gRPC, and whether one of the nodes asked about is its own."""

    code: grpc.StatusCode
    node_here: bool = False


def require_cluster(address: str) -> None:
    """Return at once if a cluster can be joined from here, and say within 10 seconds why not.

    Args:
        address: as in RAY_ADDRESS: `auto`, `host:port` or `ray://host:port`.

    Raises:
        EADError: a malformed address; nobody listens, or somebody else; a token that is missing, wrong or too much; no
            node of the cluster on this machine.
    """
    place, asked = _place(address), f"RAY_ADDRESS={address}"
    if address == "auto":
        asked += f" ({place}, by Ray's record of its last cluster here)"
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except OSError as error:
        advice = "start one, or unset RAY_ADDRESS for a private one"
        raise EADError(f"no Ray cluster answers at {asked} ({one_line(error)}); {advice}.") from error
    if not address.startswith(CLIENT):
        _introduce(place, asked, address == "auto")


def _place(address: str) -> str:
    """`host:port` that Ray would connect to."""
    if address == "auto":
        given = os.environ.get("RAY_ADDRESS", "auto")  # which a job has from the cluster that runs it
        place = local_nodes.current_cluster() if given in ("", "auto") else given
        if not place or not _is_place(place):
            advice = "start one, or unset it for a private one"
            raise EADError(f"RAY_ADDRESS=auto finds no Ray cluster on this machine; {advice}.")
    else:
        place = address.removeprefix(CLIENT)
        if not _is_place(place):
            raise EADError(f"RAY_ADDRESS={address} cannot be used: give `auto` or host:port, as in 127.0.0.1:6379.")
    host, _, port = place.rpartition(":")
    if host.strip("[]") not in LOCALHOSTS:  # for which Ray takes the machine's address in its network
        return place
    own: str = get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"[{own}]:{port}" if ":" in own else f"{own}:{port}"


def _is_place(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in host and port.isdecimal() and 0 < int(port) < 2**16


def _introduce(place: str, asked: str, found: bool) -> None:
    """Ask without a token and, if that is refused, with the one that Ray will send; `found`: the address is `auto`."""
    mode, token = os.environ.get(MODE, "").lower(), stored_token()
    until = time.monotonic() + ANSWER_SECONDS
    answer = _ask(place, None, until)
    if answer.code == grpc.StatusCode.UNAUTHENTICATED:
        if token is not None and mode != "token" and not (found and not mode):
            raise EADError(f"the cluster at {asked} demands a token; set {MODE}=token to send the one that is here.")
        answer = _ask(place, token, until)
        if answer.code == grpc.StatusCode.UNAUTHENTICATED:
            raise EADError(token_refused(asked, token))
    elif answer.code == grpc.StatusCode.OK and mode == "token":  # Ray would connect, and no actor ever start
        raise EADError(f"the cluster at {asked} demands no token; unset {MODE}, or start the cluster with it.")
    elif found:
        os.environ.setdefault(MODE, "disabled")  # else Ray would send a token that is here to a cluster without one
    if answer.code != grpc.StatusCode.OK:
        reason = answer.code.name.lower().replace("_", " ")
        raise EADError(f"what listens at {asked} does not answer as a Ray cluster ({reason}).")
    if not answer.node_here:
        raise EADError(f"this machine has no node of the cluster at {asked}; run the program on one that has.")


def _ask(place: str, token: str | None, until: float) -> _Answer:
    """Ask whether it is there; a cluster just started is given time to know its node here."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = NodeInfoGcsServiceStub(channel)  # type: ignore[no-untyped-call]
        while True:
            question = CheckAliveRequest(node_ids=map(bytes.fromhex, local_nodes.node_ids()))
            try:
                reply = stub.CheckAlive(question, timeout=until - time.monotonic(), metadata=metadata)
            except grpc.RpcError as error:
                return _Answer(error.code())
            if any(reply.raylet_alive) or time.monotonic() + PAUSE > until:
                return _Answer(grpc.StatusCode.OK, any(reply.raylet_alive))
            time.sleep(PAUSE)
