"""Addresses of checkpoints in MLflow for code that came with a job: it has no entry points, as it is not installed."""

from ead_core.checkpoints.addresses import register_resolver

RESOLVER = "ead_platform.registry.resolver:local_folder"  # as in pyproject.toml; imported when an address is first met


def accept_addresses() -> None:
    """Let this process name checkpoints as `models:/…` and `runs:/…`."""
    for scheme in ("models", "runs"):
        register_resolver(scheme, RESOLVER)
