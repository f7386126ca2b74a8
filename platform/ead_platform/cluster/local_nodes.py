"""Ray's nodes on this machine, found among its processes and records: what Ray itself does for the address `auto`."""

import os
import sys
from pathlib import Path

import psutil


def node_ids() -> set[str]:
    """Ids of the Ray nodes that run on this machine, in hexadecimal."""
    return _options_of_nodes("--node_id=")


def current_cluster() -> str | None:
    """The `host:port` that Ray takes for the address `auto`, or None where there is no cluster to take.

    It is a cluster with a node on this machine; where none or several have one, the cluster that `ray start` recorded
    last. The record may be stale, or hold anything.
    """
    running, recorded = sorted(_options_of_nodes("--gcs-address=")), _record()
    if len(running) == 1 or not recorded:
        return running[0] if running else None
    return recorded


def _options_of_nodes(option: str) -> set[str]:
    """The values of an option on the command lines of this machine's node processes, each called raylet."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or [""]  # none for a process that ends, or of somebody else
        if "raylet" in Path(line[0]).name:
            found |= {word.removeprefix(option) for word in " ".join(line).split() if word.startswith(option)}
    return found - {"", "None"}


def _record() -> str | None:
    """What Ray wrote down when it last started a cluster here."""
    folder = os.environ.get("RAY_TMPDIR") or (sys.platform == "linux" and os.environ.get("TMPDIR")) or "/tmp"
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
