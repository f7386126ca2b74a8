"""The benchmarks start, and their index names all of them."""

import importlib
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
INDEX = (FOLDER / "README.md").read_text()
PROGRAMS = re.findall(r"^\| \[(\w+\.py)\]\(\1\) \|", INDEX, re.MULTILINE)


def test_the_index_names_every_file_and_no_other():
    assert set(re.findall(r"\w+\.py", INDEX)) == {path.name for path in FOLDER.glob("*.py")}


def test_the_index_links_to_pages_that_are_there():
    pages = re.findall(r"\]\((\.\./[^)]+)\)", INDEX)
    assert len(pages) > len(PROGRAMS)
    assert all((FOLDER / page).is_file() for page in pages)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_explains_itself(program, monkeypatch, capsys):
    """Which needs all of its imports; they are shared by the programs, in one process."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / program), run_name="__main__")
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out.lower()


WATER = "3\n\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"
SMALLEST = (
    "network.hidden_features=8 network.layers=1 network.heads=2 network.edge_features=4 network.frame_features=8 "
    "network.frame_layers=1 diffusion.steps=20 diffusion.interval=2 sampler.steps=3 training.batch_size=8"
)


def test_random_frames_are_compared_and_what_is_finished_is_not_done_again(monkeypatch, tmp_path, capsys):
    """Two steps of each training on forty molecules of water."""
    (tmp_path / "water.xyz").write_text(WATER * 40)
    options = [f"--work={tmp_path / 'work'}", "--size=tiny", "--steps=2", "--seeds=1", "--batches=1", "--num=2"]
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["symdiff.py", *options, f"data.path={tmp_path / 'water.xyz'}", *SMALLEST.split()])

    def run():
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(FOLDER / "symdiff.py"), run_name="__main__")
        assert end.value.code == 0
        return capsys.readouterr().out

    first = run()
    for arm in ("none", "haar", "learned, released", "learned, corrected"):
        assert len(re.findall(rf"^\| {arm}, seed 0 \|", first, re.MULTILINE)) == 3
    monkeypatch.setattr("ead_core.training.fit.fit", None)
    assert run() == first


def test_choice_measures_all_rows_those_named_or_one_of_your_own(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    choice = importlib.import_module("choice")
    assert choice.chosen_rows(None, []) == choice.ROWS
    assert list(choice.chosen_rows(["plain", "branches-24"], [])) == ["plain", "branches-24"]
    (row,) = choice.chosen_rows(None, ["sampler.steps=25", "sampler.branches=24"]).values()
    assert (row.title, row.settings) == ("branches=24, steps=25", {"branches": 24, "steps": 25})


def test_the_check_of_a_gpu_runs_to_its_end_on_a_cpu(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--small", "--out", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / "gpu_check.py"), run_name="__main__")
    assert end.value.code == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["hardware"]
    assert report["tests"]["exit_code"] == 0
    assert report["molecules"]["match_rate"] == 1
    assert report["end_to_end"]["molecules"] == 3
    assert report["training"]["molecules_per_second"] > 0
    assert {key.split(".")[0] for key in report["network_calls"]} >= {"sampling", "training"}
