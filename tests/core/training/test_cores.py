"""Several processes on the cores of one machine: the steps of one, exact continuation, and every kind of end."""

import os
import signal
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ead_core.config import TrainingConfig
from ead_core.errors import CheckpointError, TrainingError
from ead_core.training import cores
from ead_core.training import fit as fitting
from ead_core.training.cores import fit_on_cores, process_count
from ead_core.training.progress import PROGRESS, steps_done
from ead_core.training.session import Session


@pytest.fixture
def train(make_config, molecules, statistics, tmp_path):
    """A function that trains in a folder of this name with so many threads; returns the tensors of its state."""

    def run(name, threads, changes, report=lambda row: None):
        settings = {"training.threads": threads, "training.evaluate_molecules": 0, "training.optimizer": "muon"}
        session = Session(molecules, molecules, molecules, statistics)
        folder = fit_on_cores(make_config({**settings, **changes}), session, tmp_path / name, report)
        assert active_children() == []
        return load_file(folder / PROGRESS)

    return run


def test_two_processes_take_the_steps_of_one(train):
    settings = {"training.precision": "fp64", "training.steps": 5, "training.batch_size": 7}
    alone, together = (train(f"{threads}", threads, settings) for threads in (1, 2))
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        assert together[name].dtype == tensor.dtype
        np.testing.assert_allclose(together[name], tensor, rtol=1e-9, atol=1e-11)


def test_a_run_of_three_processes_continues_bit_for_bit(train):
    """More than two can add in several orders."""
    straight = train("straight", 3, {"training.steps": 6})
    train("broken", 3, {"training.steps": 3})
    continued = train("broken", 3, {"training.steps": 6})
    assert straight.keys() == continued.keys()
    assert all(torch.equal(tensor, continued[name]) for name, tensor in straight.items())


@pytest.mark.parametrize(
    ("threads", "cores_here", "batch", "expected"),
    [(None, 2, 64, 2), (None, 64, 64, 4), (None, 8, 8, 1), (1, 8, 64, 1), (8, 2, 64, 8), (8, 8, 3, 3)],
)
def test_as_many_processes_as_are_asked_for_or_as_pay(monkeypatch, threads, cores_here, batch, expected):
    monkeypatch.setattr(cores, "available_cores", lambda: cores_here)
    assert process_count(TrainingConfig(threads=threads, batch_size=batch)) == expected


def test_a_gpu_has_one_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert process_count(TrainingConfig(threads=8)) == 1


def test_what_is_refused_ends_all(train):
    train("run", 2, {"training.steps": 1})
    with pytest.raises(CheckpointError, match=r"holds a run with diffusion.steps=50, not 60;"):
        train("run", 2, {"training.steps": 2, "diffusion.steps": 60})
    assert active_children() == []


def test_a_process_that_is_killed_ends_the_training_in_one_sentence(train, monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "LOG_SECONDS", 0.0)
    with pytest.raises(TrainingError, match=r"one of the processes that share the training has ended; .* goes on"):
        train("run", 2, {"training.steps": 100_000}, lambda row: os.kill(active_children()[0].pid, signal.SIGKILL))
    assert active_children() == []
    train("run", 2, {"training.steps": 3})
    assert steps_done(tmp_path / "run") == 3


def test_ctrl_c_saves_and_stops(train, monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "LOG_SECONDS", 0.0)

    def press(row):
        if row["step"] == 10:
            signal.raise_signal(signal.SIGINT)

    train("run", 2, {"training.steps": 100_000}, press)
    assert steps_done(tmp_path / "run") == 20  # reported after 10, stopped when they meet next
