"""The end of a sweep without a cluster: outcomes, the report, its pictures and presets, of trials that are made up."""

import io
import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from ead_platform.cluster.settings import Settings
from ead_platform.sweep import plots, report, search
from ead_platform.sweep.checked_space import check_space, reference_points
from ead_platform.sweep.confirmation import is_baseline
from ead_platform.sweep.document import Section, write_html, write_markdown
from ead_platform.sweep.objectives import CALLS, Constraint, Goals, Objective
from ead_platform.sweep.presets import preset_folder, save_presets
from ead_platform.sweep.records import FAILED, FINISHED, REFUSED, STOPPED, SweepFolder
from ead_platform.sweep.report import Plan, SweepConsole
from ead_platform.sweep.search import Deadline, OutOfTimeError, recorded
from ead_platform.sweep.study import Campaign, prefix_of, run_point
from rich.console import Console

from ead_core.checkpoints.checkpoint import PRETRAINED, load_checkpoint
from ead_core.data.batching import size_buckets
from ead_core.errors import CheckpointError, ConfigError
from ead_core.pictures.figures import new_figure, write_figure

GOALS = replace(
    Goals.parse("validity:max,nfe_per_molecule:min", ["atom_stability>=0.5"]),
    objectives=(Objective("validity", True), Objective(CALLS, False)),
)
CONTENT = {
    "sampler.async_ratio": [0.0, 0.2, 0.4],
    "sampler.history_window": {"type": "int", "low": 2, "high": 4, "unless": {"sampler.async_ratio": 0}},
    "sampler.temperature": {"type": "float", "low": 0.1, "high": 1, "log": True},
}
ENDS = {"_low": -0.05, "_high": 0.04}


@pytest.fixture(scope="module")
def campaign(tiny_checkpoint):
    return Campaign(load_checkpoint(tiny_checkpoint), seed=3, first=0, samples=8, threads=1)


def figures(validity, calls, atoms=0.9):
    """Of a trial with these, and what else every trial has."""
    shares = {"validity": validity, "atom_stability": atoms, "molecule_stability": validity / 2}
    shares |= {f"{name}{end}": value + by for name, value in shares.items() for end, by in ENDS.items()}
    for name in ("validity", "molecule_stability"):
        pair = {"": 0.02, "_low": -0.01, "_high": 0.05}
        shares |= {f"{name}_difference{end}": value for end, value in pair.items()}
    return {**shares, "validity_x_uniqueness": 0.5, CALLS: calls, "seconds_per_molecule": 0.1}


class Store:
    """A tracker that remembers."""

    def __init__(self):
        self.trials, self.ended, self.files = [], None, []

    def log_trial(self, trial, params, metrics, reason=None):
        self.trials.append((trial, reason))

    def finish(self, metrics, files, status="FINISHED"):
        self.ended, self.files = status, files


@pytest.fixture
def told():
    return io.StringIO()


def drawn_quickly(folder, space, goals, campaign):
    """Empty pictures in the place of those that take a second."""
    paths = [folder.path / name for name in (plots.FRONT, plots.SLICES)]
    for path in paths:
        write_figure(new_figure(1, 1), path)
    return paths


@pytest.fixture
def console(campaign, tmp_path, told, monkeypatch):
    """A sweep that is about to end: five trials, and three without figures."""
    space = check_space(CONTENT, campaign)
    folder = SweepFolder(tmp_path / "out", {}, False, space, GOALS)
    settings = Settings("sqlite:///x.db", None, None, False)
    console = SweepConsole(folder, Store(), settings, Plan(space, GOALS, 8, "python tune/sweep_async_ratio.py <&>"))
    console._console = Console(file=told, width=300)
    monkeypatch.setattr(report, "where_to_compare", lambda settings: "")
    monkeypatch.setattr(report, "draw_all", drawn_quickly)
    first, paper = reference_points(space)
    console.finished(first, figures(0.7, 41))
    console.finished(paper, figures(0.9, 60))
    console.finished({**paper, "sampler.history_window": 4}, figures(0.85, 45))
    console.finished({**paper, "sampler.async_ratio": 0.4}, figures(0.6, 70))
    console.finished({**first, "sampler.temperature": 0.2}, figures(0.99, 41, atoms=0.2))
    console.unmeasured({**first, "sampler.temperature": 0.3}, REFUSED, "they do not <fit>.")
    console.unmeasured({**first, "sampler.temperature": 0.4}, STOPPED, "it took longer.")
    monkeypatch.setattr(report, "confirm", lambda campaign, points, *_: {name: figures(0.8, 50) for name in points})
    return console


def test_a_report_says_what_to_take_and_why(console, campaign, told, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "draw_all", plots.draw_all)
    console.summary(campaign)
    out = tmp_path / "out"
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for title in ("Recommended settings", "The front", "What matters", "Slices", "Window and synchronous share",
                  "All trials", "Trials without figures", "What it cost", "To repeat it"):  # fmt: skip
        assert f"<h2>{title}</h2>" in page
        assert f"## {title}" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # nothing is fetched
    assert page.count("data:image/png;base64,") == 3
    assert "they do not &lt;fit&gt;." in page
    assert "python tune/sweep_async_ratio.py &lt;&amp;&gt;" in page
    assert all((out / name).is_file() for name in re.findall(r"!\[.*\]\((.*)\)", text))
    assert "<fit>" not in text.replace("\\<fit\\>", "")
    assert "80.0 (75.0–84.0)" in page  # of fresh molecules
    [best] = re.findall(r"ead sample tiny\S* --num 1000 --out best\.sdf (.*)", text)
    settings = dict(item.split("=") for item in best.split())
    assert settings["sampler.history_window"] == "2"
    assert settings["sampler.async_ratio"] == "0.2"
    assert campaign.checkpoint.config.override(yaml.safe_load((out / "best.yaml").read_text()))
    assert "breaks atom_stability>=0.5" in told.getvalue()
    assert [reason for _, reason in console._tracker.trials if reason] == ["it took longer."]  # the refused was no run
    assert {path.name for path in console._tracker.files} >= {"report.html", "report.md", "front.png", "results.csv"}
    assert console._tracker.ended == "FINISHED"


def test_the_fifth_table_has_window_and_share_with_all_else_as_in_the_paper(console, campaign, tmp_path):
    console.summary(campaign)
    [table] = re.findall(
        r"## Window and synchronous share\n\n.*\n\n((?:\|.*\n)+)", (tmp_path / "out/report.md").read_text()
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    windows = {row[0]: row[1] for row in cells[2:]}
    shares = {row[3]: row[4] for row in cells[2:]}
    assert {key: value[:4] for key, value in windows.items()} == {"2": "45.0", "3": "–", "4": "42.5"}
    assert {key: value[:4] for key, value in shares.items()} == {"1": "35.0", "0.8": "45.0", "0.6": "30.0"}


def test_where_every_setting_breaks_a_bound_none_is_recommended(console, campaign, told, tmp_path):
    goals = Goals(GOALS.objectives, (Constraint("validity", True, 1.0),), GOALS.parts, GOALS.figures)
    console._plan = replace(console._plan, goals=goals)
    console._folder._goals = goals
    console.summary(campaign)
    assert "No setting keeps validity>=1; none is recommended." in told.getvalue()
    assert "None: no setting keeps validity&gt;=1." in (tmp_path / "out" / "report.html").read_text()


def test_one_failed_trial_is_told_with_its_reason_and_the_exit_code(console, campaign, told):
    console.unmeasured(reference_points(console._plan.space)[0], FAILED, "the worker died.")
    with pytest.raises(SystemExit) as ended:
        console.summary(campaign)
    assert ended.value.code == 1
    assert "1 trials failed; the first said: the worker died. (whole messages: " in told.getvalue()


def test_presets_of_a_sweep_are_those_that_the_checkpoint_then_has(console, campaign, tiny_checkpoint, tmp_path, told):
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    fingerprint = campaign.checkpoint.fingerprint()
    console._plan = replace(console._plan, presets=preset_folder(copy, fingerprint))
    console.summary(campaign)
    presets = load_checkpoint(copy).presets
    assert presets.best == {
        "sampler.policy": "adaptive",
        "sampler.async_ratio": 0.2,
        "sampler.history_window": 2,
        "sampler.temperature": 1.0,
    }
    assert presets.fast["sampler.async_ratio"] == 0
    assert presets.balanced["sampler.history_window"] == 4
    assert f"presets  {copy / 'presets.json'}" in told.getvalue().replace("\n", "")
    assert load_checkpoint(copy).fingerprint() == fingerprint
    for name in ("fast", "balanced", "best"):  # no key without effect among them
        campaign.checkpoint.config.sampling({k.removeprefix("sampler."): v for k, v in presets.named(name).items()})


def test_presets_go_only_to_a_folder_of_the_checkpoint_that_is_swept(campaign, tiny_checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="is no folder of a checkpoint"):
        preset_folder(tmp_path / "nothing", "")
    with pytest.raises(CheckpointError, match="holds another checkpoint than the one that is swept"):
        preset_folder(tiny_checkpoint, "another")
    bundled = load_checkpoint("qm9-small")
    with pytest.raises(CheckpointError, match="bundled checkpoints keep their presets; give a copy"):
        preset_folder(PRETRAINED / "qm9-small", bundled.fingerprint())
    assert save_presets(tmp_path, {name: {} for name in ("fast", "balanced", "best")}).endswith("presets.json")


def test_the_baseline_is_known_in_any_words(campaign):
    assert is_baseline(campaign, {"sampler.async_ratio": 0.0, "sampler.temperature": 1.0})
    assert is_baseline(campaign, {"sampler.policy": "synchronous"})
    assert not is_baseline(campaign, {"sampler.async_ratio": 0.0, "sampler.temperature": 0.5})
    assert not is_baseline(campaign, {"sampler.async_ratio": 0.2})


def test_a_document_holds_any_text(tmp_path):
    write_figure(new_figure(1, 1), tmp_path / "a.png")
    section = Section("<b>", "a & b", tmp_path / "a.png", [["x|y", "<i>"], ["*", "REPORT-BODY"]], ["x <y"])
    write_html("T", "S", [section], tmp_path / "a.html")
    write_markdown("T", "S", [section], tmp_path / "a.md")
    page, text = (tmp_path / "a.html").read_text(), (tmp_path / "a.md").read_text()
    assert "&lt;b&gt;" in page
    assert "<td>REPORT-BODY</td>" in page
    assert "<i>" not in page.replace("<img", "")
    assert "x\\|y" in text
    assert "    x <y" in text


@pytest.fixture
def outcome(monkeypatch):
    """Run an objective as a trial and give what Tune would be told."""

    def run(objective, goals=GOALS, minutes=None):
        reports = []
        monkeypatch.setattr(search.tune, "report", reports.append)
        recorded(objective, goals, minutes)({"sampler.async_ratio": 0.2})
        [report] = reports
        return report

    return run


def test_whatever_becomes_of_a_trial_is_reported_once(outcome):
    def refused(point, observe):
        raise ConfigError("they do not fit.")

    def late(point, observe):
        observe()
        raise AssertionError("it was not stopped")

    made = outcome(lambda point, observe: figures(0.5, 41.0))
    assert made["outcome"] == FINISHED
    assert {name: made[name] for name in made["figures"].split(",")} == figures(0.5, 41.0)
    unknown = {"outcome": FAILED, "reason": "validity is nan, so that the trial cannot be judged."}
    assert outcome(lambda point, observe: figures(math.nan, 41.0)) == unknown
    assert outcome(refused) == {"outcome": REFUSED, "reason": "they do not fit."}
    reason = "it took longer than 1e-09 minutes, the limit of --trial-minutes."
    assert outcome(late, minutes=1e-9) == {"outcome": STOPPED, "reason": reason}
    with pytest.raises(ZeroDivisionError):  # Tune's to record
        outcome(lambda point, observe: 1 / 0)


def test_a_deadline_ends_a_trial_between_two_network_calls(campaign):
    buckets = [prefix_of(campaign, rows, {0, 20}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)]
    point = {"sampler.async_ratio": 0.5}
    with pytest.raises(OutOfTimeError, match="it took longer than 0 minutes"):
        run_point(campaign, buckets, point, Deadline(0))
    watched, alone = run_point(campaign, buckets, point, Deadline(9)), run_point(campaign, buckets, point)
    assert np.array_equal(watched.positions, alone.positions)
