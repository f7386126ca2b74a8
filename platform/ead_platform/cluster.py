"""Joining a Ray cluster, or starting a private one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

import ead_core
import ead_platform
from ead_core.errors import EADError
from ead_platform.settings import Settings

OBJECT_STORE_BYTES = 400_000_000
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Connect for the length of a block; a cluster that was already there stays.

    A cluster reached through RAY_ADDRESS gets this code shipped with the session; inside a submitted job the job's
    own environment provides it.
    """
    if ray.is_initialized():
        yield
        return
    if settings.ray_address and not settings.inside_job:
        packages = [str(Path(module.__file__).parent) for module in (ead_core, ead_platform) if module.__file__]
        ray.init(address=settings.ray_address, runtime_env={"py_modules": packages}, **QUIET)
    elif settings.ray_address or settings.inside_job:
        ray.init(address="auto", **QUIET)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **QUIET,
        )
    try:
        yield
    finally:
        ray.shutdown()


def require_cpus(count: int) -> None:
    """Refuse at once what would wait for ever.

    Raises:
        EADError: no node of the connected cluster has `count` CPUs.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]), default=0)
    if count > largest:
        raise EADError(f"--cpus-per-trial {count} is more than the {largest} CPUs of the cluster's largest node.")
