"""The registry on a real SQLite store: versions, verdicts, the way back, addresses with and without the store."""

import importlib
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from ead_platform.cluster.settings import Settings
from ead_platform.registry.examination import Examined
from ead_platform.registry.gate import METRICS, GateConfig, Outcomes
from ead_platform.registry.packing import identity_of
from ead_platform.registry.promotion import EVIDENCE, Promotion
from ead_platform.registry.resolver import _memory, fetched, local_folder, pinned
from ead_platform.registry.versions import PROMOTED, REFUSED, ROLLED_BACK, Evidence, Move, Registry, before, find_run
from ead_platform.tracking.store import StoreError
from ead_platform.training.recipe import Recipe
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ead_core.checkpoints.checkpoint import load_checkpoint, new_denoiser, save_recipe, save_weights
from ead_core.errors import CheckpointError, ConfigError, EADError
from ead_core.evaluation.card import Card
from ead_core.sampling.generation import sample
from serve.settings import ServeSettings

ROOT = Path(__file__).parents[2]
GATE = GateConfig(num=100, floor={"validity": 0.3}, gain={"validity": 0.0})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store for all tests here; each has a model of its own."""
    folder = tmp_path_factory.mktemp("store")
    return Settings(f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlruns").as_uri(), None, False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def registry(store, request):
    return Registry(request.node.name, store)


@pytest.fixture
def make_model(tmp_path, tiny_checkpoint):
    """Checkpoint folders that differ in their weights by `seed`, and in their sampler by `ratio`."""

    def make(seed, ratio=0.2):
        folder = tmp_path / f"model-{seed}-{ratio}"
        tiny = load_checkpoint(tiny_checkpoint)
        torch.manual_seed(seed)
        save_recipe(folder, tiny.config.override({"sampler.async_ratio": ratio}), tiny.statistics)
        save_weights(folder, new_denoiser(tiny.config, tiny.statistics).state_dict())
        return folder

    return make


@dataclass
class FakeExaminer:
    """Says of each model what it was told to say; `meanwhile` happens once, during an examination."""

    folder: Path
    valid: dict[str, int] = field(default_factory=dict)
    meanwhile: object = None
    asked: list[str] = field(default_factory=list)

    def plan(self, checkpoint):
        pass

    def examine(self, checkpoint):
        self.asked.append(checkpoint.name)
        for name in EVIDENCE:
            (self.folder / name).write_text("evidence")
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        hits = np.arange(GATE.num) < self.valid[checkpoint.fingerprint()]
        outcomes = Outcomes(dict.fromkeys(METRICS, hits), np.full(GATE.num, 41.0), 0.1)
        return Examined(
            checkpoint.name, Card(name="x", attempts=GATE.num, sections={}, failures={}), outcomes, self.folder
        )


@pytest.fixture
def arena(registry, store, make_model, tmp_path):
    """Promotes models by their share of valid molecules; gives the move and the examiner."""
    examiner = FakeExaminer(tmp_path)

    def promote(seed, valid, **more):
        folder = make_model(seed)
        examiner.valid[load_checkpoint(folder).fingerprint()] = valid
        for name, value in more.items():
            setattr(examiner, name, value)
        return Promotion(registry, store, examiner, GATE, lambda text: None).run(str(folder))

    promote.examiner = examiner
    return promote


def summary(moves):
    return [(move.decision, move.before, move.after) for move in moves]


def test_a_champion_is_earned_refused_and_taken_back(arena, registry, store):
    assert registry.champion() is None
    assert registry.history() == []
    assert arena(1, 20).decision == REFUSED  # the floor
    assert registry.champion() is None
    assert arena(2, 60).decision == PROMOTED
    assert arena(3, 90).decision == PROMOTED
    refused = arena(4, 70)
    assert (refused.decision, refused.before, refused.after) == (REFUSED, 3, 4)
    assert "validity -20.0 (" in refused.reason
    assert registry.champion() == 3
    assert arena(3, 90) is None  # is champion already
    registry.roll_back("customers complained")
    assert registry.champion() == 2
    with pytest.raises(EADError, match="has no earlier champion to go back to"):
        registry.roll_back("again")
    assert arena(3, 90).after == 3  # the same version as before, and not a fifth
    moves = registry.history()
    assert summary(moves) == [
        (REFUSED, None, 1),
        (PROMOTED, None, 2),
        (PROMOTED, 2, 3),
        (REFUSED, 3, 4),
        (ROLLED_BACK, 3, 2),
        (PROMOTED, 2, 3),
    ]
    assert moves[4].reason == "customers complained"
    assert all(move.when and "@" in move.who for move in moves)
    client = MlflowClient(store.tracking_uri)
    run = client.get_run(moves[3].run)
    assert run.data.metrics["candidate.validity"] == 0.7
    assert run.data.metrics["champion.validity"] == 0.9
    assert run.data.metrics["gain.validity"] == pytest.approx(-0.2)
    assert run.data.metrics["gain.validity_high"] < 0
    assert run.data.params["promotion.floor.validity"] == "0.3"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "candidate",
        "champion",
        "comparison.png",
        "decision.json",
    }
    assert len(client.search_model_versions(f"name = '{registry.name}'")) == 4


def test_a_champion_that_changes_meanwhile_has_to_be_beaten_too(arena, registry, make_model):
    """A third model is promoted while the second is being compared with the first."""
    arena(1, 50)
    strong = make_model(3)
    arena.examiner.valid[load_checkpoint(strong).fingerprint()] = 95

    def overtaken():
        version, _ = registry.register(strong, load_checkpoint(strong), "another process")
        registry.record(Move(PROMOTED, 1, version, "was faster"), Evidence())

    arena.examiner.asked.clear()
    move = arena(2, 80, meanwhile=overtaken)
    assert (move.decision, move.before, move.after) == (REFUSED, 3, 2)
    assert registry.champion() == 3
    assert [name.split("-v")[1] for name in arena.examiner.asked] == ["2", "1", "3"]  # the candidate only once


def test_equal_models_registered_at_once_are_one_version(registry, make_model):
    folders = [make_model(seed) for seed in (1, 2)] * 3

    def register(folder):
        return registry.register(folder, load_checkpoint(folder), "x")

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(register, folders))
    assert {version for version, _ in found} == {1, 2}
    assert sum(new for _, new in found) == 2


def test_another_sampler_is_another_version(make_model, registry):
    one, other = make_model(1, ratio=0.2), make_model(1, ratio=0.4)
    assert load_checkpoint(one).fingerprint() == load_checkpoint(other).fingerprint()
    assert identity_of(load_checkpoint(one)) != identity_of(load_checkpoint(other))
    versions = [registry.register(folder, load_checkpoint(folder), "x")[0] for folder in (one, other)]
    assert versions == [1, 2]


def test_a_move_that_fails_is_not_history(registry, store, make_model):
    folder = make_model(1)
    registry.register(folder, load_checkpoint(folder), "x")
    with pytest.raises(StoreError, match="cannot be used"):
        registry.record(Move(PROMOTED, None, 99, "there is no such version"), Evidence())
    assert registry.history() == []
    assert registry.champion() is None
    runs = MlflowClient(store.tracking_uri).search_runs(["1"], f"tags.`ead.model` = '{registry.name}'")
    assert "RUNNING" in {run.info.status for run in runs}  # the trace of the attempt


P, R, B = PROMOTED, REFUSED, ROLLED_BACK


@pytest.mark.parametrize(
    ("moves", "champion", "target"),
    [
        ([], None, None),
        ([(P, None, 1)], 1, None),
        ([(P, None, 1), (P, 1, 2), (R, 2, 3)], 2, 1),
        ([(P, None, 1), (P, 1, 2), (P, 2, 3), (B, 3, 2)], 2, 1),
        ([(P, None, 1), (P, 1, 2), (B, 2, 1), (P, 1, 3)], 3, 1),
        ([(P, None, 1), (P, 1, 2)], 7, 2),  # moved by hand
    ],
)
def test_the_way_back_is_the_line_of_champions(moves, champion, target):
    assert before([Move(*move, reason="") for move in moves], champion) == target


def test_an_address_is_fetched_once_and_works_without_the_store(registry, store, make_model, capfd, tmp_path):
    folder = make_model(1)
    registry.register(folder, load_checkpoint(folder), "x")
    registry.record(Move(PROMOTED, None, 1, ""), Evidence())
    address = f"models:/{registry.name}@champion"
    got = fetched(address, store)
    assert got.name == f"{registry.name}-v1"
    assert load_checkpoint(got).fingerprint() == load_checkpoint(folder).fingerprint()
    times = {path: path.stat().st_mtime_ns for path in got.iterdir()}
    assert fetched(f"models:/{registry.name}/1", store) == got
    assert {path: path.stat().st_mtime_ns for path in got.iterdir()} == times
    assert not list(got.parent.glob(".writing-*"))
    assert capfd.readouterr().err == ""
    database = Path(store.tracking_uri.removeprefix("sqlite:///"))
    hidden = database.rename(tmp_path / "hidden.db")
    try:
        for known in (address, f"models:/{registry.name}/1"):
            assert fetched(known, store) == got
            assert f"{known} is taken for models:/{registry.name}/1, as last seen" in capfd.readouterr().err
        assert pinned(address, store) == f"models:/{registry.name}/1"
        with pytest.raises(StoreError, match=r"^there is no MLflow store sqlite.* set MLFLOW_TRACKING_URI"):
            fetched(f"models:/{registry.name}/2", store)
        _memory(address, store).write_text("{")  # what is damaged was never seen
        with pytest.raises(StoreError, match=r"^there is no MLflow store sqlite"):
            fetched(address, store)
        assert not database.exists()  # a question makes no store
    finally:
        hidden.rename(database)


def test_processes_that_fetch_at_once_get_one_whole_folder(registry, store, make_model):
    folder = make_model(1)
    registry.register(folder, load_checkpoint(folder), "x")
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: fetched(registry.address(1), store), range(4)))
    assert len(found) == 1
    (got,) = found
    assert [path.name for path in got.parent.iterdir()] == [got.name]
    assert load_checkpoint(got).fingerprint() == load_checkpoint(folder).fingerprint()


def test_a_model_made_anew_under_the_same_name_is_another(registry, store, make_model):
    for seed in (1, 2):
        folder = make_model(seed)
        assert registry.register(folder, load_checkpoint(folder), "x") == (1, True)
        got = fetched(registry.address(1), store)
        assert load_checkpoint(got).fingerprint() == load_checkpoint(folder).fingerprint()
        MlflowClient(store.tracking_uri).delete_registered_model(registry.name)


def test_addresses_that_mean_nothing_are_one_sentence(registry, store, make_model, free_port, monkeypatch):
    folder = make_model(1)
    registry.register(folder, load_checkpoint(folder), "x")
    name = registry.name
    for address, sentence in (
        (f"models:/{name}@champion", "alias champion not found"),
        (f"models:/{name}/7", "version=7"),
        ("models:/nobody@champion", "nobody"),
        (f"models:/{name}", "must look like models:/ead-qm9@champion"),
        (f"models:/{name}/Production", "must look like"),
        ("runs:/0123456789abcdef0123456789abcdef", "0123456789abcdef"),
    ):
        with pytest.raises(CheckpointError) as caught:
            fetched(address, store)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = Settings(f"http://127.0.0.1:{free_port()}", None, None, False)
    with pytest.raises(StoreError, match=r"^the MLflow store http://127\.0\.0\.1:\d+ cannot be used"):
        fetched(f"models:/{name}@champion", away)
    with pytest.raises(ConfigError, match="--name must be letters"):
        Registry("a/b", store)


def test_a_training_run_is_found_by_id_and_name_and_followed_when_it_goes_on(store, make_model):
    client = MlflowClient(store.tracking_uri)
    experiment = client.get_experiment_by_name("ead") or client.get_experiment(client.create_experiment("ead"))
    tags = {"ead.kind": "training"}
    run_id = client.create_run(experiment.experiment_id, run_name="my demo", tags=tags).info.run_id
    prints = []
    for seed in (1, 2):
        client.log_artifacts(run_id, str(make_model(seed)), "checkpoint")
        client.set_terminated(run_id, end_time=1000 + seed)
        got = fetched(find_run("my demo", store), store)
        assert got.name == "my-demo"
        prints.append(load_checkpoint(got).fingerprint())
        assert prints[-1] == load_checkpoint(make_model(seed)).fingerprint()
    assert prints[0] != prints[1]
    assert find_run(run_id, store) == f"runs:/{run_id}/checkpoint"
    assert find_run("nobody's", store) is None
    client.create_run(experiment.experiment_id, run_name="my demo", tags=tags)
    with pytest.raises(EADError, match="2 trainings are called 'my demo'; give the id of one"):
        find_run("my demo", store)


@pytest.fixture
def command(store, monkeypatch):
    """The command line of the job, in this process."""
    monkeypatch.syspath_prepend(ROOT / "platform" / "jobs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    app = importlib.import_module("promote").app
    return lambda *arguments: app(list(arguments), standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "'nowhere' is neither a checkpoint directory .* nor is it a training run in MLflow"),
        (["qm9-judge"], "predicts properties .*; it generates nothing"),
        (["qm9-small", "promotion.sampler.stpes=3"], r"unknown configuration key 'sampler\.stpes'"),
        (["qm9-small", "--threads", "0"], "--threads must be at least 1, not 0"),
        (["qm9-small", "--gate", "absent.yaml"], r"absent\.yaml cannot be read"),
        (["qm9-small", "--rollback"], "give a candidate, or --rollback, or --history"),
        (["qm9-small", "--reason", "why not"], "--reason belongs to --rollback"),
        ([], "give a candidate, or --rollback, or --history"),
    ],
)
def test_a_mistake_is_found_before_anything_is_registered(command, store, arguments, sentence):
    with pytest.raises(EADError, match=sentence):
        command(*arguments, "--name", "mistaken")
    assert MlflowClient(store.tracking_uri).search_registered_models("name = 'mistaken'") == []


def test_the_history_is_printed_as_a_table(command, registry, make_model, capsys):
    folder = make_model(1)
    command("--history", "--name", registry.name)
    assert "has no history yet" in capsys.readouterr().out
    registry.register(folder, load_checkpoint(folder), "x")
    registry.record(Move(PROMOTED, None, 1, "it was the first"), Evidence())
    command("--history", "--name", registry.name)
    row = next(line for line in capsys.readouterr().out.splitlines() if "it was the first" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][2:5] == ["–", "1", "promoted"]


@pytest.fixture
def champion(registry, store, make_model, monkeypatch):
    """Address of a promoted model, and the store in the environment."""
    folder = make_model(1)
    registry.register(folder, load_checkpoint(folder), "x")
    registry.record(Move(PROMOTED, None, 1, ""), Evidence())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    mlflow.set_tracking_uri(store.tracking_uri)
    return f"models:/{registry.name}@champion"


def test_the_core_finds_the_champion_through_the_entry_point(champion, registry):
    assert load_checkpoint(champion).name == f"{registry.name}-v1"
    assert local_folder(champion).name == f"{registry.name}-v1"


def test_the_service_and_a_training_pin_the_version_of_today(champion, registry, store, tmp_path):
    located = ServeSettings(checkpoint=champion).located()
    assert located.checkpoint == registry.address(1)
    (tmp_path / "x.npz").touch()
    recipe = Recipe(data={"path": str(tmp_path / "x.npz")}, training={"initial": champion})
    assert recipe.located("x", store).training.initial == registry.address(1)


def test_replicas_find_the_store_of_the_service_and_nobody_else_sees_it(champion, registry, store, monkeypatch):
    located = ServeSettings(checkpoint=champion).located()
    assert store.tracking_uri not in f"{located!r} {located} {located.model_dump()}"
    handed_over = pickle.loads(pickle.dumps(located))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")
    assert handed_over.load().name == f"{registry.name}-v1"
    assert os.environ["MLFLOW_TRACKING_URI"] == store.tracking_uri


def test_mlflow_loads_a_version_and_gives_the_molecules_of_the_core(champion):
    model = mlflow.pyfunc.load_model(champion)
    asked = pd.DataFrame({"num": [2, 1], "seed": [5, 6], "sizes": ["4", None], "sampler": ["sampler.steps=20", None]})
    made = model.predict(asked)
    checkpoint = load_checkpoint(champion)
    direct = [sample(checkpoint, 2, 5, [4], steps=20), sample(checkpoint, 1, 6)]
    assert made["request"].tolist() == [0, 0, 1]
    assert made["id"].tolist() == [0, 1, 0]
    assert made["calls"].tolist() == np.concatenate([part.properties["nfe"] for part in direct]).tolist()
    for record, (part, index) in zip(made["sdf"], [(direct[0], 0), (direct[0], 1), (direct[1], 0)], strict=True):
        atoms = [line.split() for line in record.splitlines()[4 : 4 + int(part.num_atoms[index])]]
        positions = np.array([[float(x) for x in line[:3]] for line in atoms])
        assert positions == pytest.approx(part.molecule(index)[1], abs=6e-5)
    assert len(model.predict(asked.iloc[:0])) == 0
    for wrong, sentence in (
        ({"sampler": "sampler.stpes=3"}, "request 0: unknown configuration key 'sampler.stpes'"),
        ({"sizes": "four"}, "request 0: --sizes must be whole numbers"),
        ({"targets": "gap=6500"}, "request 0: "),
        ({"seed": "five"}, "seed"),
    ):
        with pytest.raises(MlflowException) as caught:
            model.predict(pd.DataFrame({"num": [1], **{name: [value] for name, value in wrong.items()}}))
        assert sentence in str(caught.value)


def test_a_conditional_version_is_asked_by_its_targets(registry, store, conditional_checkpoint):
    checkpoint = load_checkpoint(conditional_checkpoint)
    registry.register(conditional_checkpoint, checkpoint, "x")
    mlflow.set_tracking_uri(store.tracking_uri)
    model = mlflow.pyfunc.load_model(registry.address(1))
    made = model.predict(pd.DataFrame({"num": [3], "targets": ["gap=6000 atoms_C=1:2"]}))
    direct = sample(checkpoint, 3, targets={"gap": 6000, "atoms_C": [1, 2]})
    assert made["calls"].tolist() == direct.properties["nfe"].tolist()
