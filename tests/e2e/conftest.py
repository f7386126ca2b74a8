"""What the pages tell a newcomer to run, in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import CORE_COMMANDS, PLATFORM_COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What git would clone, uncommitted changes included, with this environment in the place of its .venv."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def programs(clone, preloaded):
    """What is in the clone's .venv/bin, given the modules that its `python` and `ead` have loaded."""

    def install(modules):
        shutil.rmtree(clone / ".venv", ignore_errors=True)
        (clone / ".venv" / "bin").mkdir(parents=True)
        for folder in (preloaded(modules, environment_of(clone), clone), Path(sys.executable).parent):
            for program in folder.iterdir():
                if not (clone / ".venv" / "bin" / program.name).exists():
                    (clone / ".venv" / "bin" / program.name).symlink_to(program)

    return install


def environment_of(clone):
    """That of a newcomer, in which the clone's code is found and not that of the checkout."""
    others = ("EAD_", "RAY_", "MLFLOW_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {
        **environment,
        "PYTHONPATH": f"{clone}:{clone / 'platform'}",
        "PATH": f"{clone / '.venv' / 'bin'}:{environment['PATH']}",
    }


@pytest.fixture
def follow(clone, programs, request):
    """Run shell commands in the clone, as one session that stops at the first failure; returns the output."""
    programs(PLATFORM_COMMANDS if request.node.get_closest_marker("ray") else CORE_COMMANDS)

    def run(commands):
        done = subprocess.run(
            ["bash", "-c", f"set -euxo pipefail\n{commands}"],
            cwd=clone,
            env=environment_of(clone),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run
