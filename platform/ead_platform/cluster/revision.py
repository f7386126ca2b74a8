"""Which revision of the code is running: what git says of a checkout, or the environment of a submitted job."""

import os
import subprocess
from pathlib import Path

VARIABLE = "EAD_REVISION"  # set for jobs, whose copy of the code is no checkout
DIRTY = "-dirty"
GIT_SECONDS = 10


def revision(folder: Path) -> str | None:
    """Commit of the checkout that a folder with Python code lies in, with `-dirty` if tracked files differ from it.

    None where git does not know this very code: an installed package may lie in the folder of another project.
    """
    if given := os.environ.get(VARIABLE):
        return given
    if not _known(folder):
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def uncommitted_changes(folder: Path) -> str:
    """How tracked files differ from the commit; empty without git."""
    return (_git(folder, "diff", "HEAD") if _known(folder) else None) or ""


def _known(folder: Path) -> bool:
    return _git(folder, "ls-files", "--error-unmatch", "__init__.py") is not None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers in a folder; None if it is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
