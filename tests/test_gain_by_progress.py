"""The gain of pauses by progress of a training: the share of failures that they mend, and a run in a small form."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
WATER = "3\n\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"
SMALLEST = (
    "network.hidden_features=8 network.layers=1 network.edge_features=4 network.vectors=2 diffusion.steps=20 "
    "diffusion.interval=5 training.batch_size=8 training.warmup_steps=0 sampler.steps=10 sampler.grid=even"
)


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def flags(stable, of=400):
    return np.arange(of) < stable


def point(synchronous, adaptive):
    from gain_by_progress import Point

    stable = {"synchronous": flags(synchronous), "adaptive-repeat": flags(adaptive), "together-repeat": flags(adaptive)}
    return Point(0.1, "", 0.9, stable)


def test_the_answer_is_of_the_share_of_failures_not_of_points():
    from gain_by_progress import answers, table

    equal = list(answers({500: point(0, 100), 1000: point(80, 240), 8000: point(240, 320)}))
    assert "Failures mended by adaptive-repeat, step 8000 minus step 1000: +0 (" in equal[0]  # half of them in both
    [_, _, _, line, _] = "\n".join(table({500: point(0, 100), 1000: point(80, 240), 8000: point(240, 320)})).split("\n")
    assert "| +40.0 (" in line
    assert "| 50 (" in line
    shrinking = next(answers({1000: point(80, 240), 8000: point(240, 256)}))
    change, low, high = map(int, re.search(r": (\S+) \((\S+) to (\S+)\)", shrinking).groups())
    assert change == -40
    assert low < -40 < high < 0
    assert not list(answers({500: point(0, 100), 1000: point(80, 240)}))  # nothing to compare with


def test_in_small_form_copies_are_measured_and_what_is_finished_is_not_done_again(monkeypatch, tmp_path, capsys):
    (tmp_path / "water.xyz").write_text(WATER * 40)
    options = [f"--work={tmp_path / 'work'}", "--batches=1", "--num=2", f"data.path={tmp_path / 'water.xyz'}"]

    def run(*points, exit_code=0):
        arguments = [f"--point={each}" for each in points]
        monkeypatch.setattr(sys, "argv", ["gain_by_progress.py", *arguments, *options, *SMALLEST.split()])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(FOLDER / "gain_by_progress.py"), run_name="__main__")
        assert end.value.code == exit_code
        return capsys.readouterr()

    run(1)
    first = run(1, 3).out
    assert re.findall(r"^\| (\d) \| ", first, re.MULTILINE) == ["1", "3"]
    assert "is at step 3, past 2" in run(2, exit_code=2).err
    one, three = ((tmp_path / "work" / f"step-{step}" / "model.safetensors").read_bytes() for step in (1, 3))
    assert one != three
    monkeypatch.setattr("ead_core.training.fit.fit", None)
    assert run(1, 3).out == first
