"""Serve molecules over HTTP: `python -m serve --port 8000 checkpoint=runs/mine max_molecules=16`.

Without RAY_ADDRESS it starts a private Ray cluster on this machine, which ends with the service; with RAY_ADDRESS it
joins that cluster, of which this machine must be a node.
"""

import ipaddress
import os
import signal
import socket
import time
from typing import Annotated, Any

import typer

from ead_core.config import parse_overrides, validate
from ead_core.errors import EADError, report_user_errors
from serve.settings import ServeSettings

NAME = "ead"
KEEP_ALIVE_SECONDS = 15  # of a connection between two requests
LOST = "Ray's head service is gone, and the service with it; start it again."
OPEN = "everybody who reaches this address can use it: there are no keys, no TLS and no limit of requests per client"

app = typer.Typer(pretty_exceptions_enable=False)


@app.command(help=(__doc__ or "").splitlines()[0])
def main(
    settings: Annotated[list[str] | None, typer.Argument(help="key=value of serve/settings.py …")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65_535)] = 8000,
) -> None:
    """Start the service and stay until it is interrupted."""
    with report_user_errors("serve"):
        wanted = validate(ServeSettings, parse_overrides(settings or []))
        require_free(host, port)
        _serve(wanted, host, port)


def require_free(host: str, port: int) -> None:
    """Refuse a place where somebody listens; a second proxy of Ray Serve would share it without a word.

    Raises:
        EADError: the port is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EADError(f"cannot listen at {host}:{port} ({error.strerror}); give another --port.") from error


def _serve(wanted: ServeSettings, host: str, port: int) -> None:
    """Start, say where, and wait for the end."""
    import ray
    from ead_platform.cluster.session import expect_cluster
    from ead_platform.cluster.settings import Settings
    from ead_platform.registry.addresses import accept_addresses
    from ray import serve
    from ray.serve.config import ControllerOptions

    from serve.app import application
    from serve.proxies import ENVIRONMENT

    accept_addresses()
    place = Settings.from_environment()
    expect_cluster(place)
    target = application(wanted)
    _connect(place)
    try:
        serve.start(
            http_options={"host": host, "port": port, "keep_alive_timeout_s": KEEP_ALIVE_SECONDS},
            controller_options=ControllerOptions(runtime_env={"env_vars": ENVIRONMENT}),
        )
        serve.run(target, name=NAME, route_prefix="/")
        cpus = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
        if hint := _jobs_wait(wanted, cpus):
            typer.echo(f"serve: {hint}", err=True)
        typer.echo(f"{wanted.checkpoint} is served at http://{host}:{port} (/docs); {_reach(host)}.", err=True)
        _wait(ray.get_runtime_context().gcs_address)
        if place.joins_cluster:
            serve.delete(NAME)
    finally:
        ray.shutdown()


def _connect(place: Any) -> None:
    from ead_platform.cluster.session import join, start_private

    options: dict[str, Any] = {"namespace": "serve", "log_to_driver": True}
    if place.joins_cluster:
        join(place.ray_address or "auto", **options)
    else:
        start_private(**options)


def _jobs_wait(wanted: ServeSettings, cpus: float) -> str:
    """Why jobs would wait for ever; '' if they do not."""
    taken = wanted.replicas * wanted.threads
    return f"jobs will wait: the replicas take {taken} of {cpus:g} CPUs, and a job needs one." if taken >= cpus else ""


def _reach(host: str) -> str:
    """Who can use the service, in words."""
    local = host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
    return "only this machine reaches it" if local else OPEN


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wait(head: str) -> None:
    """Until Ctrl-C or SIGTERM; ends with an error once Ray's head service is gone, so that a supervisor starts anew."""
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ended.append(number))
    host, _, port = head.rpartition(":")
    while not ended:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError:
            typer.echo(f"serve: {LOST}", err=True)
            os._exit(1)  # Ray's own way to the end takes a minute here
        time.sleep(1)


if __name__ == "__main__":
    app()
