"""Joining a Ray cluster, or starting a private one that nobody reaches from outside this machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

import ead_core
import ead_platform
from ead_core.errors import EADError, one_line
from ead_platform.cluster.auth_token import keep_token_private
from ead_platform.cluster.knocking import require_cluster
from ead_platform.cluster.settings import Settings

OBJECT_STORE_BYTES = 400_000_000
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Connect for the length of a block; a cluster that was already there stays.

    A cluster reached through RAY_ADDRESS gets this code shipped with the session; inside a submitted job the job's
    own environment provides it.

    Raises:
        EADError: no cluster answers, or it cannot be joined.
    """
    if settings.inside_job:
        join("auto")
    elif settings.ray_address:
        packages = [str(Path(module.__file__).parent) for module in (ead_core, ead_platform) if module.__file__]
        # Ray's own helpers look for "the" cluster of the machine, which may have several, unless the address is set.
        environment = {"py_modules": packages, "env_vars": {"RAY_ADDRESS": settings.ray_address}}
        join(settings.ray_address, runtime_env=environment)
    else:
        start_private()
    try:
        yield
    finally:
        ray.shutdown()


def expect_cluster(settings: Settings) -> None:
    """Refuse at the start of a program what `ray_session` would refuse after a while (EADError)."""
    if settings.ray_address and not settings.inside_job:
        require_cluster(settings.ray_address)


def join(address: str, **options: Any) -> None:
    """Connect to a running cluster.

    Args:
        address: as in RAY_ADDRESS.
        options: of `ray.init`.

    Raises:
        EADError: it cannot be joined; known within 10 seconds.
    """
    keep_token_private()
    require_cluster(address)
    try:
        ray.init(address=address, **{**QUIET, **options})
    except (OSError, RuntimeError, ValueError, AuthenticationError) as error:
        raise EADError(f"the Ray cluster at RAY_ADDRESS={address} cannot be joined ({one_line(error)}).") from error


def start_private(**options: Any) -> None:
    """Start a cluster of this process's own, which listens on the loopback addresses only.

    Args:
        options: of `ray.init`.

    Raises:
        EADError: it does not start.
    """
    keep_token_private(create=True)
    defaults = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, **QUIET}
    try:
        with _loopback_only():
            ray.init(address="local", **{**defaults, **options})
    except Exception as error:  # Ray has no narrower one for a node that does not come up in time
        raise EADError(f"Ray cannot be started on this machine, or it is too busy ({one_line(error)}).") from error
    keep_token_private()


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Let a Ray that starts meanwhile listen on 127.0.0.1 instead of the address of the network.

    The one private name of Ray in this project. Ray listens on the network wherever there is one, even if it is given
    127.0.0.1, except on systems on which it supports no clusters. Its public switch for these,
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER, is read when Ray is imported: before a program knows whether it will join a
    cluster, which needs the opposite.
    """
    from ray._private import ray_constants

    several_machines = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = several_machines


def require_cpus(count: int, option: str) -> None:
    """Refuse at once what would wait forever; `option` is what asked for so many.

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
