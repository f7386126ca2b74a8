"""Joining a Ray cluster, or starting a private one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

import ead_core
import ead_platform
from ead_platform.settings import Settings

OBJECT_STORE_BYTES = 400_000_000


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Connect for the length of a block; a cluster that was already there stays.

    A cluster reached through RAY_ADDRESS gets this code shipped with the session; inside a submitted job the job's
    own environment provides it.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning about future versions
    if settings.ray_address and not settings.inside_job:
        packages = [str(Path(module.__file__).parent) for module in (ead_core, ead_platform) if module.__file__]
        ray.init(address=settings.ray_address, runtime_env={"py_modules": packages}, log_to_driver=False)
    elif settings.ray_address or settings.inside_job:
        ray.init(address="auto", log_to_driver=False)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
        )
    try:
        yield
    finally:
        ray.shutdown()
