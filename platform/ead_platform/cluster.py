"""Joining a Ray cluster, or starting a private one."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

import ead_core
import ead_platform
from ead_core.errors import EADError, one_line
from ead_platform.settings import Settings

KNOCK_SECONDS = 10
TOKEN_HINT = "if it demands a token, set RAY_AUTH_MODE=token"
OBJECT_STORE_BYTES = 400_000_000
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Connect for the length of a block; a cluster that was already there stays.

    A cluster reached through RAY_ADDRESS gets this code shipped with the session; inside a submitted job the job's
    own environment provides it.

    Raises:
        EADError: no cluster answers, or the address is none.
    """
    try:
        _knock(settings.ray_address or "")
        _connect(settings)
    except (OSError, AuthenticationError) as error:  # ConnectionError included, which a wrong token ends in
        place = f"RAY_ADDRESS={settings.ray_address}"
        raise EADError(f"no Ray cluster answers at {place} ({one_line(error)}); {TOKEN_HINT}.") from error
    except ValueError as error:  # such as the http address that jobs are submitted to
        raise EADError(f"RAY_ADDRESS={settings.ray_address} cannot be used: {one_line(error)}.") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError if nobody listens at `host:port`; Ray itself would try for minutes and then end the process."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _connect(settings: Settings) -> None:
    if settings.ray_address and not settings.inside_job:
        packages = [str(Path(module.__file__).parent) for module in (ead_core, ead_platform) if module.__file__]
        # Ray's own helpers look for "the" cluster of the machine, which may have several, unless they are told.
        environment = {"py_modules": packages, "env_vars": {"RAY_ADDRESS": settings.ray_address}}
        ray.init(address=settings.ray_address, runtime_env=environment, **QUIET)
    elif settings.ray_address or settings.inside_job:
        ray.init(address="auto", **QUIET)
    else:
        ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **QUIET)


def require_cpus(count: int, option: str) -> None:
    """Refuse at once what would wait for ever; `option` is what asked for so many.

    Raises:
        EADError: no node of the connected cluster has `count` CPUs.
    """
    largest = max((int(resources.get("CPU", 0)) for resources in _node_resources()), default=0)
    if count > largest:
        raise EADError(f"{option} {count} is more than the {largest} CPUs of the cluster's largest node.")


def actors_that_fit(cpus: int, gpus: float) -> int:
    """How many actors of `cpus` CPUs and `gpus` GPUs the connected cluster holds when nothing else runs.

    Raises:
        EADError: not a single one.
    """
    count = 0
    for resources in _node_resources():
        by_cpus = resources.get("CPU", 0) // cpus
        by_gpus = resources.get("GPU", 0) / gpus + 1e-9 if gpus else by_cpus  # 0.3 / 0.1 is just below 3
        count += int(min(by_cpus, by_gpus))
    if not count:
        raise EADError(f"no node of the cluster holds an actor of {cpus} CPUs and {gpus:g} GPUs.")
    return count


def _node_resources() -> list[dict[str, float]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]
