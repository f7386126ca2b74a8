"""Rough handling of a sweep: damaged records are told, a store that fails ends nothing, the end says what was found."""

import io
import json
import sqlite3

import pytest
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.lines import verdict
from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.records import FAILED, QUESTION, REFUSED, RESULTS, STOPPED, SweepFolder, only_sweep
from ead_platform.sweep.report import Plan, SweepConsole
from ead_platform.sweep.search import reason
from ead_platform.sweep.space import Space, parse_parameter
from ead_platform.sweep.tracking import SweepTracker
from ead_platform.tracking.store import StoreError
from mlflow.tracking import MlflowClient
from rich.console import Console

from ead_core.config import read_mapping
from ead_core.errors import ConfigError, EADError, OutputError

CHOICES = {"sampler.async_ratio": [0, 0.2], "sampler.pause_mode": ["hold", "off"], "sampler.max_pauses": [None, 3]}
SPACE = Space({key: parse_parameter(key, choices) for key, choices in CHOICES.items()})
ASKED = {"samples": 5, "space": CHOICES}
GOALS = Goals.parse()
POINTS = [
    {"sampler.async_ratio": 0, "sampler.pause_mode": "hold", "sampler.max_pauses": None},
    {"sampler.async_ratio": 0.2, "sampler.pause_mode": "off", "sampler.max_pauses": 3},
]
NAMES = ("molecule_stability", "molecule_stability_low", "molecule_stability_high", "molecule_stability_difference",
         "molecule_stability_difference_low", "molecule_stability_difference_high", "nfe_per_molecule")  # fmt: skip
FIGURES = dict(zip(NAMES, (0.5, 0.4, 0.6, 0.1, -0.1, 0.2, 31.5), strict=True))


@pytest.fixture
def folder(tmp_path):
    """A sweep with two finished trials."""
    folder = SweepFolder(tmp_path / "sweep", ASKED, False, SPACE, GOALS)
    folder.remember_run("abc")
    for point in POINTS:
        folder.add(point, FIGURES)
    return folder


def reopened(folder):
    return SweepFolder(folder.path, ASKED, True, SPACE, GOALS)


def test_settings_come_back_as_the_space_has_them(folder):
    assert reopened(folder).rows == folder.rows
    assert [type(row["sampler.async_ratio"]) for row in reopened(folder).rows] == [int, float]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "what?",
        lambda text: text[: len(text) - 20],
        lambda text: text.replace("hold", "hild"),
        lambda text: text.replace("molecule_stability,", "molecule_stabiljty,", 1),
        lambda text: text.replace("0.5", "half", 1),
        lambda text: text.replace("0.5", "nan", 1),
        lambda text: text.replace("trial-001", "trial-000"),
        lambda text: text + "trial-002,1\n",
        lambda text: text + text.splitlines()[-1] + ",7\n",
        lambda text: text.replace("trial-000", '"trial-000'),
        lambda text: text.replace("trial-000", "\udcff"),
    ],
)
def test_damaged_results_are_one_sentence(folder, damage):
    path = folder.path / RESULTS
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(EADError, match=r"results\.csv is damaged \(.*delete the file, and --resume makes all") as error:
        reopened(folder)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"samples": 5}', "\udcff", "[" * 5000])
def test_a_damaged_question_is_one_sentence(folder, text):
    (folder.path / QUESTION).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(EADError, match=r"sweep\.json is damaged \(.* a new one needs another --out\.") as error:
        reopened(folder)
    assert "\n" not in str(error.value)


def test_a_question_of_the_first_form_is_read_and_one_of_a_later_version_refused(folder):
    stored = json.loads((folder.path / QUESTION).read_text())
    assert stored.pop("schema_version") == 1
    (folder.path / QUESTION).write_text(json.dumps(stored))
    assert reopened(folder).parent_run == folder.parent_run
    (folder.path / QUESTION).write_text(json.dumps({**stored, "schema_version": 2}))
    with pytest.raises(EADError, match=r"is the question of a sweep of version 2; this program reads 1\.$"):
        reopened(folder)


def test_a_second_sweep_in_the_folder_is_refused(tmp_path):
    refused = pytest.raises(
        OutputError, match=r"another sweep is writing to .*; wait for it, or choose another --out\."
    )
    with only_sweep(tmp_path / "sweep"):
        SweepFolder(tmp_path / "sweep", ASKED, False, SPACE, GOALS)  # the lock itself is no sweep
        with refused, only_sweep(tmp_path / "sweep"):
            pass
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    "text", ["sampler.max_pauses: [3]\nsampler.max_pauses: [4]\n", "a: {b: 1, b: 2}", "{a: 1, 'a': 2}"]
)
def test_a_key_given_twice_in_a_space_is_refused(tmp_path, text):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(ConfigError, match="is given twice, in line 1 and in line"):
        read_mapping(tmp_path / "space.yaml", "lists of choices")


class Store:
    """A tracker whose store works or not."""

    def __init__(self):
        self.works, self.trials, self.ended = True, [], None

    def _answer(self):
        if not self.works:
            raise StoreError("the MLflow store x cannot be used (locked).")

    def log_trial(self, trial, params, metrics, reason=None):
        self._answer()
        self.trials.append(trial)

    def finish(self, metrics, files, status="FINISHED"):
        self._answer()
        self.ended = status


@pytest.fixture
def told():
    return io.StringIO()


@pytest.fixture
def console(tmp_path, told):
    folder = SweepFolder(tmp_path / "sweep", ASKED, False, SPACE, GOALS)
    console = SweepConsole(folder, Store(), Settings("sqlite:///x.db", None, None, False), Plan(SPACE, GOALS, 4))
    console._console = Console(file=told, width=400)
    return console


def test_a_store_that_fails_for_a_while_is_caught_up_with(console, told):
    store = console._tracker
    for works in (True, False, False, True):
        store.works = works
        console.finished(POINTS[0], FIGURES)
    assert store.trials == [f"trial-00{number}" for number in range(4)]
    assert told.getvalue().count("cannot be used (locked). Trials go on; results.csv has their results.") == 1
    assert len(told.getvalue().splitlines()) == 5


def test_a_store_that_stays_away_is_told_at_the_end(console, told):
    console.finished(POINTS[0], FIGURES)
    console._tracker.works = False
    console.finished(POINTS[1], FIGURES)
    console._finish({}, [])
    assert told.getvalue().splitlines()[-1] == (
        "MLflow lacks 1 of the trials; --resume writes them when the store is back."
    )
    assert len(console._folder.rows) == 2


def test_a_store_that_is_deleted_and_one_that_is_locked_are_one_sentence(settings, tmp_path):
    tracker = SweepTracker(settings, None, "sweep", {})
    file = settings.tracking_uri.removeprefix("sqlite:///")
    with sqlite3.connect(file) as other:
        other.executescript("ALTER TABLE runs RENAME TO gone;")
    with pytest.raises(StoreError, match="cannot be used") as error:
        tracker.log_trial("trial-000", {}, {})
    assert "\n" not in str(error.value)
    with pytest.raises(StoreError):
        tracker.finish({"a": 1.0}, [])


def test_a_sweep_whose_run_is_gone_from_mlflow_gets_a_new_one(settings):
    first = SweepTracker(settings, None, "sweep", {"samples": 5})
    client = MlflowClient(settings.tracking_uri)
    client.delete_run(first.parent_id)
    for gone in (first.parent_id, "0" * 32):
        again = SweepTracker(settings, gone, "sweep", {"samples": 5})
        assert again.parent_id not in (first.parent_id, gone)
        again.log_trial("trial-000", {"a": 1}, {"q": 0.5})
        assert len(again._trials("trial-000")) == 1
    assert SweepTracker(settings, again.parent_id, "sweep", {}).parent_id == again.parent_id


def test_a_trial_that_was_made_again_with_another_setting_replaces_the_old_one(settings):
    tracker = SweepTracker(settings, None, "sweep", {})
    tracker.log_trial("trial-000", {"a": 1}, {"q": 0.5})
    tracker.log_trial("trial-000", {"a": 2}, {"q": 0.7})
    [run] = tracker._trials("trial-000")
    assert (run.data.params, run.data.metrics) == ({"a": "2"}, {"q": 0.7})


def test_if_all_trials_fail_the_reason_is_told(console, told):
    console.unmeasured(POINTS[0], FAILED, "stored prefix x cannot be read.")
    console.unmeasured(POINTS[1], STOPPED, "it took longer than 1 minutes.")
    with pytest.raises(SystemExit) as ended:
        console.summary(campaign=None)
    assert ended.value.code == 1
    assert "all trials failed; the first said: stored prefix x cannot be read. (whole messages: " in told.getvalue()
    assert console._tracker.ended == "FAILED"


def test_what_could_not_be_measured_is_recorded_and_only_failed_trials_are_made_again(folder):
    folder.add_unmeasured(POINTS[0], FAILED, "the worker died.")
    folder.add_unmeasured(POINTS[1], REFUSED, 'they do not fit, "as said".')
    folder.add_unmeasured(POINTS[0], STOPPED, "it took longer than 1 minutes.")
    assert [row["outcome"] for row in folder.rows] == ["finished", "finished", FAILED, REFUSED, STOPPED]
    assert folder.counted == 3  # a refused trial is none, a failed one has to be made
    again = reopened(folder)
    assert again.rows == [row for row in folder.rows if row["outcome"] != FAILED]
    assert again.finished == folder.finished
    again.add(POINTS[0], FIGURES)
    names = [row["trial"] for row in again.rows]
    assert len(set(names)) == len(names)


def test_results_of_the_first_form_are_read(folder):
    path = folder.path / RESULTS
    lines = [line.split(",") for line in path.read_text().splitlines()]
    place = lines[0].index("outcome")
    path.write_text("".join(",".join(cells[:place] + cells[place + 1 :]) + "\n" for cells in lines))
    assert reopened(folder).rows == folder.rows


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("a\nValueError: x", "ValueError: x"),
        ("ead_core.errors.ConfigError: y.", "y."),
        ("The worker died (OOM).\n\n", "The worker died (OOM)."),
        ("", "nothing"),
    ],
)
def test_the_reason_is_the_end_of_a_traceback(message, said):
    assert reason(message) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.2, "The best setting is better than synchronous sampling: +10.0 (+1.0 to +20.0) points"),
        (
            -0.01,
            0.2,
            "The best setting is not shown to be better than synchronous sampling: +10.0 (-1.0 to +20.0) points",
        ),
        (0.0, 0.2, "The best setting is not shown to be better"),
        (-0.3, -0.1, "The best setting is worse than synchronous sampling"),
    ],
)
def test_the_last_line_says_whether_anything_was_gained(low, high, said):
    ends = {"molecule_stability_difference_low": low, "molecule_stability_difference_high": high}
    assert verdict(FIGURES | ends).startswith(said)


def test_the_last_line_says_that_synchronous_is_best():
    assert verdict({}) == "No setting was better than synchronous sampling."
