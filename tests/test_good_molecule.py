"""The cost of a good molecule: the arithmetic, what is said of it, and a run of the program in a small form."""

import json
import math
import runpy
import sys
from pathlib import Path

import pytest

from .in_this_process import in_this_process

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def turns():
    """Two rounds in which EDM's way costs 1001 × 0.1 s per attempt, and ours 51 × 0.001 s and 0.019 s of judging."""
    from good_molecule_cost import Cost, Turn

    good, stable = Cost(0.001, 51.0, 0.019, 0.7), Cost(0.001, 51.0, 0.0, 0.9)
    return [Turn(0.1, 0.01, {"good": good, "stable": stable}), Turn(0.2, 0.01, {"good": good, "stable": stable})]


def test_a_molecule_costs_its_attempts():
    (one, _) = turns()
    assert one.ours["good"].seconds == pytest.approx(0.07 / 0.7)
    assert one.theirs("good").seconds == pytest.approx(100.1 / 0.907)
    assert one.theirs("stable").seconds == pytest.approx(100.1 / 0.82)
    assert one.ratio("good") == pytest.approx(1001 / 0.907)
    assert one.ratio("good", novelty=0.5) == pytest.approx(2 * 1001 / 0.907)


def test_the_factors_multiply_to_the_ratio():
    (one, _) = turns()
    found = one.factors("good")
    assert math.prod(found.values()) == pytest.approx(one.ratio("good"))
    assert found["fewer network calls"] == pytest.approx(1001 / 51)
    assert found["way of computing"] == pytest.approx(10)
    assert found["another network"] == pytest.approx(10)
    assert found["judging"] == pytest.approx(0.051 / 0.07)


def test_the_headline_says_whether_novelty_was_asked():
    from good_molecule_report import headline

    assert "new, molecule" not in headline(turns(), "good", known=False)
    assert "Without --known" in headline(turns(), "good", known=False)
    new = headline(turns(), "good", known=True)
    assert "distinct, new molecule costs 0.1 CPU seconds" in new
    assert "1,655 (1,104–2,207) times" in new
    assert "2,854 (1,903–3,806) with its novelty" in new
    assert "Without --known" not in headline(turns(), "stable", known=True)


def test_the_tables_have_a_line_per_row_and_factor():
    from good_molecule_report import decomposition, table

    header, _, *rows = table(turns()).splitlines()
    assert [row.count("|") for row in rows] == [header.count("|")] * 2
    assert "| 1,104 |" in decomposition(turns(), "good")  # of the two rounds, one of the middle


def test_in_short_a_small_run(tmp_path, monkeypatch, capsys):
    """In this process, beside an EDM that takes a tenth of a second."""
    import speed

    monkeypatch.setattr(speed, "start", lambda role, *_: role)
    monkeypatch.setattr(speed, "turn", lambda role: {"cpu_seconds": 0.1})
    monkeypatch.setattr(speed, "stop", lambda roles: None)
    with in_this_process():
        small_run(tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_a_small_run(tmp_path, monkeypatch, capsys):
    """Beside EDM's way of computing a small network."""
    small_run(tmp_path, monkeypatch, capsys)


def small_run(tmp_path, monkeypatch, capsys):
    """Two stable molecules."""
    out, drawn = tmp_path / "figures.json", tmp_path / "bars.png"
    size = ["--size", "small", "--rounds", "1", "--num", "2", "--row", "stable"]
    settings = ["--set", "sampler.policy=synchronous", "--set", "sampler.steps=10", "--set", "sampler.start=0.5"]
    arguments = [*size, *settings, "--out", str(out), "--picture", str(drawn)]
    monkeypatch.setattr(sys, "argv", ["good_molecule.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / "good_molecule.py"), run_name="__main__")
    assert not end.value.code
    figures, said = json.loads(out.read_text()), capsys.readouterr().out
    assert figures["hardware"] in said
    assert "A stable molecule costs" in said
    assert figures["stable.calls"]["value"] >= 11
    assert 0 < figures["stable.accepted"]["value"] <= 1
    assert drawn.stat().st_size > 1000
