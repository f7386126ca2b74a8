"""Shared by all tests: one thread per process (small tensors gain nothing from more) and fixed seeds."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import torch

from ead_core.cli.main import main

ROOT = Path(__file__).parents[1]


def pytest_configure(config):
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"  # so that what a file shares is made by one process
    # Started in the background by a shell, we would ignore Ctrl-C, and so would the programs that are tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def free_port():
    """Gives a port of the loopback interface that nobody listens on."""

    def find():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def real_data():
    """The folder with real molecules, from $EAD_DATA or beside the checkout; skips where there is none."""
    for folder in (os.environ.get("EAD_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "qm9.npz").is_file():
            return Path(folder)
    pytest.skip("no real data: set EAD_DATA to a folder with qm9.npz")


@pytest.fixture
def ead(monkeypatch, capsys, tmp_path):
    """Run `ead` in this process and in an empty folder; returns exit code, standard output and error."""
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EAD_DATA", raising=False)

    def ead(*arguments):
        monkeypatch.setattr(sys, "argv", ["ead", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    yield ead
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)
