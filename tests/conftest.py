"""Shared by all tests: one thread per process (small tensors gain nothing from more) and fixed seeds."""

import functools
import gc
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_configure(config):
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"  # so that what a file shares is made by one process
    # Started in the background by a shell, we would ignore Ctrl-C, and so would the programs that are tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Compiled modules are kept, here and by the many processes that are started, each of which would compile all anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_finish():
    gc.freeze()  # what is there now stays to the end, and takes most of a second to look through


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch  # here and below, and not for a process that only hands out tests to others

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    import torch

    torch.default_generator.manual_seed(0)  # torch.manual_seed looks for five kinds of device each time


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


@pytest.fixture(scope="session")
def built_once():
    """Typer's function that builds a command of its declarations, which takes longer than most commands."""
    from typer import main

    return functools.cache(main.get_command)


@pytest.fixture
def ead(monkeypatch, capsys, tmp_path, built_once):
    """Run `ead` in this process and in an empty folder; returns exit code, standard output and error."""
    import torch

    from ead_core.cli.main import main

    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    monkeypatch.setattr("typer.main.get_command", built_once)
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


CORE_COMMANDS = ("ead_core.cli.main", "ead_core.sampling.delivery", "ead_core.evaluation.run", "ead_core.training.fit")
PLATFORM_COMMANDS = (
    *CORE_COMMANDS,
    "ray.tune",
    "ray.train.torch",
    "ray.serve",
    "mlflow",
    "optuna",
    "matplotlib.pyplot",
)


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory):
    """Give the folder of a `python` and an `ead` that have these modules loaded already, see preloaded.py."""
    started = []

    def start(modules, environment=None, folder=ROOT):
        if sys.platform != "linux":
            return Path(sys.executable).parent
        place = tmp_path_factory.mktemp("bin")
        command = [sys.executable, str(Path(__file__).with_name("preloaded.py")), str(place), *modules]
        started.append(subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "ready\n"
        return place

    yield start
    for process in started:
        process.terminate()
        process.communicate()
