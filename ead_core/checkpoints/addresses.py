"""Checkpoints that live elsewhere: an address such as `models:/ead-qm9@champion` becomes a local folder.

Who can fetch it is registered under the scheme: by an installed package as an entry point of the group
`ead.checkpoints`, or in this process. The core itself fetches nothing.
"""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ead_core.errors import CheckpointError

GROUP = "ead.checkpoints"
Resolver = Callable[[str], Path]  # address to checkpoint folder; CheckpointError if there is none

_registered: dict[str, EntryPoint] = {}


def scheme_of(name_or_path: str | Path) -> str | None:
    """`models` of `models:/…`; None for a path or a name."""
    found = re.match(r"([a-z][a-z0-9+.-]+):/", str(name_or_path))
    return found and found[1]


def register_resolver(scheme: str, resolver: str) -> None:
    """Let this process fetch addresses of a scheme by `module:function`, whose package need not be installed."""
    _registered[scheme] = EntryPoint(scheme, resolver, GROUP)


def fetch(address: str) -> Path:
    """Local folder of the checkpoint at an address.

    Raises:
        CheckpointError: nobody can fetch such addresses, or there is no checkpoint.
    """
    points = {point.name: point for point in entry_points(group=GROUP)} | _registered
    scheme = scheme_of(address) or ""
    if scheme not in points:
        known = ", ".join(f"{name}:/…" for name in sorted(points)) or "none"
        raise CheckpointError(f"nothing installed can fetch the checkpoint {address}; known addresses: {known}.")
    try:
        resolver: Resolver = points[scheme].load()
    except ImportError as error:
        raise CheckpointError(
            f"the checkpoint {address} needs the package {error.name}, which is not installed; ead[platform] brings it."
        ) from error
    return resolver(address)
