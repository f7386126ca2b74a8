"""Generation in shards, end to end on a real Ray cluster: equal bytes after any interruption, refusals, SDF later."""

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from ead_platform.cluster import session as cluster_module
from ead_platform.cluster.settings import Settings
from ead_platform.generation import actors
from ead_platform.generation.actors import ActorPool, GenerationError
from ead_platform.generation.making import FinishedShard
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole, duration
from ead_platform.generation.shard_numbers import Task, shards_of
from ead_platform.generation.shards import ShardFolder
from ray.exceptions import ActorDiedError

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.chemistry.identity import perceived_smiles
from ead_core.common.cpu import tune_cpu
from ead_core.config import SamplerConfig
from ead_core.data.formats import encode_molecules
from ead_core.data.parquet import load_parquet
from ead_core.data.shard_folders import INDEX
from ead_core.errors import ConfigError, EADError
from ead_core.sampling.generation import sample

pytestmark = pytest.mark.ray

SCRIPT = Path(__file__).parents[2] / "platform" / "jobs" / "generate.py"
NUM, SIZE, SEED = 76, 8, 5
QUESTION = (
    "--shard-size",
    str(SIZE),
    "--seed",
    str(SEED),
    "--sizes",
    "4,6,9",
    "--beyond-training",
    "sampler.pause_mode=renoise",
)


@pytest.fixture(scope="module")
def command(python, cluster, tiny_checkpoint):
    """Builds the command line and environment of a run on the test cluster."""

    def build(out, *options):
        arguments = [python, str(SCRIPT), "--checkpoint", str(tiny_checkpoint), "--out", str(out), *options]
        return {"args": arguments, "env": {**os.environ, "RAY_ADDRESS": cluster}}

    return build


@pytest.fixture(scope="module")
def run(command):
    def run(out, *options):
        return subprocess.run(**command(out, *options), capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """The folder of an uninterrupted run with two actors, and what it said."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = run(out, "--num", str(NUM), *QUESTION, "--actors", "2")
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def shard_bytes(folder, ending=".parquet"):
    return {path.name: path.read_bytes() for path in folder.glob(f"shard-*{ending}")}


def listed(folder, key="shards"):
    """Names of the finished files; none before the first index."""
    return [row["name"] for row in json.loads((folder / INDEX).read_text())[key]] if (folder / INDEX).exists() else []


def identities(folder, names):
    """Changed for every file that was written again."""
    return {name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in names}


def start_until(command, folder, shards):
    """Start a run and wait until so many shards are finished."""
    process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(listed(folder)) < shards:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[0]
    return process


def test_shards_hold_the_molecules_of_sample_and_nothing_that_varies(whole, tiny_checkpoint):
    folder, said = whole
    tune_cpu(1)
    model = load_checkpoint(tiny_checkpoint)
    names = sorted(shard_bytes(folder))
    assert names == [f"shard-{number:05d}.parquet" for number in range(10)] == listed(folder)
    for number in (0, 4, 9):
        found = load_parquet(folder / names[number]).molecules
        rows = 4 if number == 9 else SIZE
        wanted = sample(model, rows, SEED, [4, 6, 9], beyond_training=True, first=number * SIZE, pause_mode="renoise")
        assert list(found.properties)[:3] == ["id", "nfe", "inchikey"]
        assert not {"seconds", "hardware"} & set(found.properties)
        for name in ("num_atoms", "charges", "positions"):
            assert np.array_equal(getattr(found, name), getattr(wanted, name))
        assert found.properties["id"].tolist() == list(range(number * SIZE, number * SIZE + rows))
        assert np.array_equal(found.properties["nfe"], wanted.properties["nfe"])
        assert found.properties["smiles"].tolist() == perceived_smiles(wanted)
    lines = said.splitlines()
    assert sum(line.startswith("shard-0000") for line in lines) == 10
    assert f"76 molecules in 10 shards → {folder}" in lines[-1]


def is_maker(process):
    try:
        return process.cmdline()[0].startswith("ray::ShardMaker")
    except (psutil.Error, IndexError):
        return False


def kill_the_maker(process):
    """Kill the one actor at work; what is told to the end of the run."""
    makers = [child for child in psutil.Process().children(recursive=True) if is_maker(child)]
    assert len(makers) == 1
    makers[0].kill()
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert "an actor died while making shard-0000" in output
    return output


def test_after_the_death_of_an_actor_files_are_those_of_undisturbed_ones(whole, command, tmp_path):
    call = command(tmp_path, "--num", str(NUM), *QUESTION, "--actors", "1")
    kill_the_maker(start_until(call, tmp_path, 1))
    assert shard_bytes(tmp_path) == shard_bytes(whole[0])


@pytest.mark.slow
def test_one_actor_stopped_killed_and_bereaved_makes_the_files_of_two_undisturbed_ones(whole, command, tmp_path):
    call = command(tmp_path, "--num", str(NUM), *QUESTION, "--actors", "1")
    process = start_until(call, tmp_path, 1)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output
    stopped = listed(tmp_path)
    assert f"Stopped; {SIZE * len(stopped)} of {NUM} molecules are finished in {tmp_path}." in output
    assert "The same command continues." in output

    process = start_until(call, tmp_path, len(stopped) + 2)
    process.kill()
    process.communicate()
    before = identities(tmp_path, listed(tmp_path))
    assert len(stopped) + 2 <= len(before) < 9

    process = start_until(call, tmp_path, len(before) + 1)
    output = kill_the_maker(process)
    assert sum(line.startswith("shard-0000") for line in output.splitlines()) == 10 - len(before)
    assert identities(tmp_path, before) == before
    assert shard_bytes(tmp_path) == shard_bytes(whole[0])
    assert {path.name for path in tmp_path.iterdir()} == {INDEX, ".lock", *shard_bytes(whole[0])}


@pytest.mark.slow
def test_damage_is_mended_more_molecules_are_added_and_sdf_comes_later(whole, run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    (folder / "shard-00001.parquet").write_bytes(b"PAR1 but not quite")
    (folder / "shard-00003.parquet").unlink()
    names = [name for name in shard_bytes(whole[0]) if name[:11] not in ("shard-00001", "shard-00003", "shard-00009")]
    before = identities(folder, names)
    done = run(folder, "--num", "82", *QUESTION, "--sdf")
    assert done.returncode == 0, done.stderr
    assert "76 of 82 molecules are there already" in done.stdout
    assert "shard-00001.parquet is damaged and is made again" in done.stdout
    assert "shard-00003.parquet is missing and is made again" in done.stdout
    assert "sampling: 26 molecules in 4 shards by 2 actors" in done.stdout
    assert "writing SDF of 7 finished shards too" in done.stdout
    assert identities(folder, names) == before
    first, now = shard_bytes(whole[0]), shard_bytes(folder)
    assert {name for name in now if now[name] != first.get(name)} == {"shard-00009.parquet", "shard-00010.parquet"}
    ids = [load_parquet(folder / name).molecules.properties["id"] for name in sorted(now)]
    assert np.concatenate(ids).tolist() == list(range(82))
    sdf = shard_bytes(folder, ".sdf.gz")
    assert sorted(sdf) == listed(folder, "sdf")
    for name in now:  # whether made with the molecules or later
        molecules = load_parquet(folder / name).molecules
        assert sdf[name.replace(".parquet", ".sdf.gz")] == encode_molecules(molecules, ".sdf.gz")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--num", "0"], "--num must be at least 1, not 0."),
        (["--shard-size", "0"], "--shard-size must be at least 1, not 0."),
        (["--shard-size", "20000000"], "--shard-size must be at most 10,000,000, not 20,000,000."),
        (["--accept", "novel=nothing.sdf"], "novel=nothing.sdf names no file; it needs one of molecules."),
        (["--threads", "-1"], "--threads must be at least 1, not -1."),
        (["--actors", "0"], "--actors must be at least 1, not 0."),
        (["--gpus-per-actor", "2"], "--gpus-per-actor must be between 0 and 1"),
        (["--num", "200001", "--shard-size", "2"], "are 100001 shards; at most 100000 are allowed."),
        (["--sizes", "15,600"], "sizes must be between 1 and 512 atoms, not [600]."),
        (["--sizes", "4,9"], "has learnt from molecules of 4 to 6 atoms, so 9 atoms are refused; --beyond-training"),
        (["--sizes", "a"], "--sizes must be whole numbers separated by commas"),
        (["--seed", "-1"], "seed must be between 0 and"),
        (["sampler.async_ratoi=0.1"], "did you mean sampler.async_ratio?"),
        (["training.steps=5"], "only sampler.* keys can be changed"),
        (
            ["--num", "1", "--sizes", "4,60", "--beyond-training", "sampler.policy=manual"],
            "spreads the 60 atoms over 11 steps",
        ),
        (["sampler.repair_attempts=2"], "sampler.repair_attempts is of repairs of what is not accepted, and here all"),
        (["--target", "gap=wide"], "target gap must be a number or low:high, not 'wide'."),
        (
            ["--target", "gap=6500"],
            "was trained without properties (conditioning.properties), so it takes no targets but formulas.",
        ),
        (["--targets", "counted.csv", "--num", "3"], "--num cannot be combined with a table that has a column 'count'"),
        (["--targets", "counted.csv", "--accept", "valid"], "--accept cannot be combined with a table that has a colu"),
        (["--match"], "--match needs --targets, a table with a row per wish."),
        (["--match", "--targets", "a.csv", "--num", "3"], "--num cannot be combined with --match."),
        (["--match", "--targets", "a.csv", "--until", "3"], "--until cannot be combined with --match."),
        (["--targets", "nothing.csv"], "table nothing.csv cannot be read (No such file or directory)."),
        (["sampler.guidance=1"], "sampler.guidance=1 needs a model that was trained with properties"),
        (["--settings", "nothing.yaml"], "nothing.yaml cannot be read"),
        (["--checkpoint", "nothing"], "'nothing' is neither a checkpoint directory"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_work(generate, tmp_path, options, sentence):
    (tmp_path / "counted.csv").write_text("atoms_C,count\n2,3\n")
    with pytest.raises(EADError) as error:
        generate(tmp_path / "out", *options)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def generate(tiny_checkpoint, tmp_path, monkeypatch):
    """The command in this process, for what ends before it needs Ray."""
    specification = importlib.util.spec_from_file_location("generate_script", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)

    def generate(out, *options):
        module.app(["--checkpoint", str(tiny_checkpoint), "--out", str(out), *options], standalone_mode=False)

    generate.module = module
    return generate


def test_what_the_cluster_cannot_hold_is_refused_at_once(generate, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    generate.module.ray_session = lambda place: contextlib.nullcontext()
    with pytest.raises(EADError, match="--threads 3 is more than the 2 CPUs of the cluster's largest node"):
        generate(tmp_path / "out", "--threads", "3")
    with pytest.raises(EADError, match=r"no node of the cluster holds an actor of 1 CPUs and 0\.5 GPUs"):
        generate(tmp_path / "out", "--gpus-per-actor", "0.5", "--actors", "1")
    assert not (tmp_path / "out").exists()


def test_another_question_is_refused(whole, generate):
    before = identities(whole[0], [INDEX])
    with pytest.raises(EADError, match=r"holds molecules with seed=5, not 6; choose another --out\."):
        generate(whole[0], "--num", str(NUM), *QUESTION[:2], "--seed", "6", *QUESTION[4:])
    with pytest.raises(EADError, match=r"holds molecules with sampler\.pause_mode=renoise, not hold;"):
        generate(whole[0], "--num", str(NUM), *QUESTION[:-1], "sampler.pause_mode=hold")
    assert identities(whole[0], [INDEX]) == before


def test_a_relative_folder_is_refused_inside_a_job(generate, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(EADError, match="out is relative, but a submitted job runs in a temporary copy"):
        generate("out")


def test_the_address_of_the_jobs_page_is_one_sentence():
    settings = Settings("", None, "http://127.0.0.1:1", False)
    sentence = r"RAY_ADDRESS=http://127\.0\.0\.1:1 cannot be used: "
    with pytest.raises(EADError, match=sentence) as error, cluster_module.ray_session(settings):
        pass
    assert "\n" not in str(error.value)


def test_the_fingerprint_is_of_what_molecules_depend_on(tiny_checkpoint, tmp_path):
    copy = tmp_path / "renamed"
    shutil.copytree(tiny_checkpoint, copy)
    model = load_checkpoint(tiny_checkpoint)
    assert load_checkpoint(copy).fingerprint() == model.fingerprint()
    other_sizes = replace(model, statistics=replace(model.statistics, sizes={4: 1, 6: 1}))
    other_levels = replace(model, config=model.config.override({"diffusion.steps": 50}))
    retrained = load_checkpoint(copy)
    next(retrained.denoiser.parameters()).data.add_(1e-3)
    different = (model, other_sizes, other_levels, retrained)
    assert len({checkpoint.fingerprint() for checkpoint in different}) == 4


def test_actors_that_fit_counts_cpus_and_gpus_of_living_nodes(monkeypatch):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 5.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": True, "Resources": {"memory": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    monkeypatch.setattr(cluster_module.ray, "nodes", lambda: nodes)
    counts = {(1, 0): 8, (2, 0): 3, (1, 0.3): 3, (2, 0.1): 2, (5, 1): 1}
    assert {wanted: cluster_module.actors_that_fit(*wanted) for wanted in counts} == counts
    with pytest.raises(EADError, match="no node of the cluster holds an actor of 6 CPUs and 1 GPUs"):
        cluster_module.actors_that_fit(6, 1)


class FakeRay:
    """Ray's calls without processes: every promise holds at once, with what `outcome(task)` returns or raises."""

    def __init__(self, outcome):
        self.outcome, self.started, self.killed, self.order = outcome, 0, [], []

    def remote(self, **options):
        return lambda maker: _Method(self._start)

    def _start(self, plan):
        self.started += 1
        return _Actor(self)

    def put(self, value):
        return value

    def wait(self, promises, num_returns, timeout=None):
        return promises[:1], promises[1:]

    def get(self, promise):
        return promise()

    def kill(self, actor):
        self.killed.append(actor)


class _Method:
    def __init__(self, call):
        self.remote = call


class _Actor:
    def __init__(self, ray):
        self._ray = ray
        self.__ray_ready__ = _Method(lambda: lambda: True)
        self.make = _Method(self._make)

    def _make(self, task, parquet):
        self._ray.order.append(task.shard.number)
        return lambda: self._ray.outcome(task)


def crew_with(monkeypatch, tiny_checkpoint, outcome, count=2):
    """A crew on a fake Ray; also the fake, the numbers of the finished shards, and what was said."""
    fake, finished, said = FakeRay(outcome), [], []
    monkeypatch.setattr(actors, "ray", fake)
    plan = GenerationPlan(load_checkpoint(tiny_checkpoint), 20, 4, 0, None, SamplerConfig(), 1, 0)
    crew = ActorPool(plan, count, lambda shard: b"", lambda task, made: finished.append(task.shard.number), said.append)
    return crew, fake, finished, said


TASKS = [Task(shard, True, False, "") for shard in shards_of(20, 4)]


def test_a_deadly_shard_ends_the_run_after_all_others_are_done(monkeypatch, tiny_checkpoint):
    def outcome(task):
        if task.shard.number == 1:
            raise ActorDiedError()
        return FinishedShard({}, 1.0, 1.0)

    crew, fake, finished, said = crew_with(monkeypatch, tiny_checkpoint, outcome)
    with pytest.raises(GenerationError, match="7 actors died in a row, the last while making shard-00001; often mem"):
        crew.work(TASKS)
    assert sorted(finished) == [0, 2, 3, 4]
    assert fake.order.count(1) == 1 + 7  # once among the others, then until patience ends
    assert len(said) == 7
    assert all("an actor died while making shard-00001" in line for line in said)


def test_what_is_no_death_ends_the_run_in_a_sentence(monkeypatch, tiny_checkpoint, tmp_path, capsys):
    from ray.exceptions import RayTaskError

    def outcome(task):
        if task.shard.number == 2:
            raise RayTaskError("make", "Traceback …", ValueError("the model\nexploded"))
        return FinishedShard({".parquet": b"x"}, 1.0, 1.0)

    crew, fake, finished, _ = crew_with(monkeypatch, tiny_checkpoint, outcome)
    folder = ShardFolder(tmp_path, crew._plan.question())
    folder.left(shards_of(20, 4), False)
    folder.add(TASKS[0].shard, {".parquet": b"x"}, 1.0, 1.0)
    with pytest.raises(SystemExit) as ended, GenerationConsole(folder, crew._plan).closing():
        crew.work(TASKS)
    assert ended.value.code == 1
    assert finished == [0, 1]
    assert len(fake.killed) == 1  # the other actor, at work on shard 3
    sentence = f"generate: ValueError: the model exploded. 4 of 20 molecules are finished in {tmp_path}."
    assert capsys.readouterr().err.splitlines()[-1] == f"{sentence} The same command continues."


def test_an_actor_that_cannot_start_is_no_death(monkeypatch, tiny_checkpoint):
    crew, fake, _, _ = crew_with(monkeypatch, tiny_checkpoint, None)

    def fails(promise):
        error = ActorDiedError()
        error.error_msg, error._actor_init_failed = "The actor died …\nRuntimeError: no CUDA device", True
        raise error

    monkeypatch.setattr(fake, "get", fails)
    with pytest.raises(GenerationError, match=r"an actor could not start: RuntimeError: no CUDA device\."):
        crew.work(TASKS)
    assert fake.started == 2


def test_a_cluster_without_a_free_place_is_waited_for_and_said_once(monkeypatch, tiny_checkpoint):
    crew, fake, finished, said = crew_with(
        monkeypatch, tiny_checkpoint, lambda task: FinishedShard({}, 1.0, 1.0), count=1
    )
    at_once, asked = fake.wait, itertools.count()

    def wait(promises, num_returns, timeout=None):
        return ([], promises) if next(asked) < 30 else at_once(promises, num_returns)

    monkeypatch.setattr(fake, "wait", wait)
    crew.work(TASKS)
    assert finished == [0, 1, 2, 3, 4]
    assert said == ["waiting until the cluster has 1 CPUs and 0 GPUs free"]


def test_a_check_ends_the_work_and_its_actors_while_nothing_finishes(monkeypatch, tiny_checkpoint):
    crew, fake, finished, _ = crew_with(monkeypatch, tiny_checkpoint, lambda task: FinishedShard({}, 1.0, 1.0), count=2)
    asked = itertools.count()

    def cancelled_after_three():
        if next(asked) == 3:
            raise KeyboardInterrupt

    crew._check = cancelled_after_three
    monkeypatch.setattr(fake, "wait", lambda promises, num_returns, timeout: ([], promises))
    with pytest.raises(KeyboardInterrupt):
        crew.work(TASKS)
    assert (finished, len(fake.killed)) == ([], 2)


def test_durations_are_readable():
    assert [duration(seconds) for seconds in (0.4, 99, 600, 11_100)] == ["0 s", "99 s", "10 min", "3 h 05 min"]


def test_the_plan_refuses_what_some_shard_could_not_do(tiny_checkpoint):
    """The one molecule asked for has 4 atoms, but an extended run would meet the 60."""
    config = SamplerConfig(policy="manual")
    plan = GenerationPlan(load_checkpoint(tiny_checkpoint), 1, 4, 0, (4, 60), config, 1, 0)
    with pytest.raises(ConfigError, match="spreads the 60 atoms"):
        plan.check()
