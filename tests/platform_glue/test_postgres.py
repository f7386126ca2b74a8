"""The trackers on a real PostgreSQL server, as a team would have it; skipped where none is installed."""

import pytest
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.tracking import SweepTracker
from ead_platform.tracking.provenance import DATA_TAG
from ead_platform.tracking.store import open_store
from ead_platform.training.recipe import Recipe
from ead_platform.training.reproduction import find_original
from ead_platform.training.tracking import TrainingTracker

from ead_core.errors import EADError

from .postgresql_here import postgresql

SHA = "5" * 64  # longer than MLflow's digest, which SQLite would let pass
ABOUT = {
    "dataset": {"name": "x.npz", "sha256": SHA, "path": "/x.npz", "split": "auto", "molecules": {"train": 8}},
    "initial": None,
    "machines": [{"host": "here", "processor": "CPU", "threads": 1}],
    "versions": {},
}


@pytest.fixture(scope="module")
def server():
    with postgresql() as address:
        yield address


@pytest.fixture
def settings(server, tmp_path):
    """Instead of the file that other tests track in."""
    return Settings(server, (tmp_path / "files").as_uri(), None, False)


def test_a_sweep_is_written_once_and_found(settings):
    tracker = SweepTracker(settings, None, "sweep", {"samples": 5})
    for _ in range(2):
        tracker.log_trial("t1", {"sampler.async_ratio": 0.2}, {"molecule_stability": 0.5})
    tracker.finish({"best_molecule_stability": 0.5}, [])
    with open_store(settings) as (client, experiment):
        [trial] = client.search_runs([experiment], "tags.`ead.trial` = 't1' and metrics.molecule_stability > 0.4")
        assert trial.data.tags["mlflow.parentRunId"] == tracker.parent_id
        assert client.get_run(tracker.parent_id).info.status == "FINISHED"


def test_a_training_is_written_continued_and_found_by_name(settings, tmp_path):
    recipe = Recipe(data={"path": "/x.npz"}, platform={"storage_path": "/runs", "name": "team"})
    recipe = recipe.override({"training.steps": 20, "platform.system_metrics": False})
    (tmp_path / "checkpoint").mkdir()
    for first in (1, 11):
        tracker = TrainingTracker(settings, recipe)
        tracker.log({"step": first, "epoch": 0.5, "loss": 1 / first, "about": ABOUT})
        tracker.log({"step": first + 9, "epoch": 1.0, "loss": float("nan")})  # which a database must take, too
        tracker.finish("FINISHED", tmp_path / "checkpoint")
    original = find_original(settings, "team")
    assert original.run_id == find_original(settings, tracker.run_id).run_id == tracker.run_id
    assert original.recipe == recipe
    assert original.tags[DATA_TAG] == SHA
    with open_store(settings) as (client, _):
        assert [m.step for m in client.get_metric_history(tracker.run_id, "loss")] == [1, 10, 11, 20]
        [data] = client.get_run(tracker.run_id).inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("x.npz", SHA[:16])


def test_a_database_that_refuses_is_one_sentence_without_its_password(settings):
    address = settings.tracking_uri.replace("ead@/postgres", "ead:secret@/nowhere")
    with pytest.raises(EADError, match=r'^the MLflow store postgresql.*"nowhere" does not exist') as error:
        SweepTracker(Settings(address, None, None, False), None, "sweep", {})
    assert "secret" not in str(error.value)


def test_the_environment_may_say_where_the_database_is(settings, monkeypatch):
    """As compose.yaml does, so that no password stands in a command line."""
    place = {"PGHOST": settings.tracking_uri.partition("host=")[2], "PGUSER": "ead", "PGDATABASE": "postgres"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with open_store(Settings("postgresql+psycopg://", None, None, False)) as (client, experiment):
        assert client.get_experiment(experiment).name == "ead"
