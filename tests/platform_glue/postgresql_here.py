"""A real PostgreSQL server for a test, as a team would have it."""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS = 60


@contextmanager
def postgresql():
    """The address of an empty database on a unix socket; the server itself refuses to be run by root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1] if programs else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="ead-pg-"))  # a socket's path may have 107 bytes, which pytest's uses up
    user, demoted = getpass.getuser(), []
    if os.geteuid() == 0:
        user, demoted = "nobody", ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, user)
    data, programs = folder / "data", Path(found).parent
    subprocess.run([*demoted, found, "-D", data, "-U", "ead", "-A", "trust"], check=True, capture_output=True)
    options = ["-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    process = subprocess.Popen([*demoted, programs / "postgres", *options], stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(process, [programs / "pg_isready", "-h", folder, "-U", "ead"])
        yield f"postgresql+psycopg://ead@/postgres?host={folder}"
    finally:
        process.send_signal(signal.SIGINT)  # a fast end; at SIGTERM it would wait for the pools of MLflow's clients
        process.wait(timeout=30)
        shutil.rmtree(folder)


def wait_until_ready(process, question):
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(question, stdout=subprocess.DEVNULL, check=False).returncode:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.1)
