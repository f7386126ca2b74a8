"""The pieces of a sweep without a cluster: exactness of branching, proposals, records, tracking."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
from ead_platform.sweep import study
from ead_platform.sweep.checked_space import check_space
from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.records import SweepFolder
from ead_platform.sweep.report import Plan, SweepConsole
from ead_platform.sweep.space import Space, parse_parameter
from ead_platform.sweep.study import Campaign, branch_indices, identity, prefix_of, run_point, shared_prefix
from ead_platform.sweep.tracking import SweepTracker
from mlflow.tracking import MlflowClient

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import size_buckets
from ead_core.data.targets import TargetError, Targets
from ead_core.errors import EADError
from ead_core.sampling.generation import sample

CHOICES = {"sampler.async_ratio": [0.0, 0.2, 0.5], "sampler.pause_mode": ["repeat", "hold"]}
SPACE = Space({key: parse_parameter(key, choices) for key, choices in CHOICES.items()})
GOALS = Goals.parse()


@pytest.fixture
def campaign(tiny_checkpoint):
    return Campaign(load_checkpoint(tiny_checkpoint), seed=3, first=0, samples=8, threads=1)


def test_a_trial_gives_the_molecules_that_ead_sample_gives(campaign):
    indices = branch_indices(campaign, SPACE)
    assert indices == {0, 8, 20}
    buckets = [
        prefix_of(campaign, rows, indices | {0}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)
    ]
    for ratio in CHOICES["sampler.async_ratio"]:
        branched = run_point(campaign, buckets, {"sampler.async_ratio": ratio, "sampler.pause_mode": "repeat"})
        direct = sample(campaign.checkpoint, 8, 3, policy="adaptive", async_ratio=ratio, pause_mode="repeat")
        assert np.array_equal(branched.positions, direct.positions)
        assert np.array_equal(branched.properties["nfe"], direct.properties["nfe"])
        assert (branched.properties["seconds"] > 0).all()


class _Here:
    """Tasks of Ray that are done at once, in this process."""

    def __init__(self):
        self.done = 0

    def remote(self, work):
        def do(*inputs):
            self.done += 1
            return work(*inputs)

        return SimpleNamespace(options=lambda **resources: SimpleNamespace(remote=lambda *inputs: _Done(do(*inputs))))

    def put(self, value):
        return value

    def wait(self, tasks, num_returns):
        return tasks[:num_returns], tasks[num_returns:]

    def get(self, task):
        return task.result


class _Done:
    def __init__(self, result):
        self.result = result


def test_an_extended_sweep_computes_only_the_starts_that_it_lacks(campaign, tmp_path, monkeypatch):
    """More trials may have another winner, whose confirmation branches from another level."""
    here, finished = _Here(), []
    monkeypatch.setattr(study, "ray", here)
    first = shared_prefix(campaign, {8}, tmp_path, finished.append)
    assert {index for bucket in first for index in bucket} == {0, 8}
    again = here.done
    assert all(set(bucket) == {0, 8} for bucket in shared_prefix(campaign, {8}, tmp_path, finished.append))
    assert here.done == again > 0
    extended = shared_prefix(campaign, {8, 20}, tmp_path, finished.append)
    assert here.done == 2 * again
    assert {index for bucket in extended for index in bucket} == {0, 8, 20}
    assert all(torch.equal(old[8].state.z, new[8].state.z) for old, new in zip(first, extended, strict=True))
    assert sum(finished) == 3 * campaign.samples


def test_a_stored_prefix_belongs_to_its_weights_and_molecules(campaign, tiny_checkpoint):
    same = Campaign(load_checkpoint(tiny_checkpoint), seed=3, first=0, samples=8, threads=1)
    assert same.fingerprint == campaign.fingerprint
    others = [replace(campaign, **{key: value}) for key, value in {"seed": 4, "first": 8, "samples": 9}.items()]
    retrained = Campaign(load_checkpoint(tiny_checkpoint), seed=3, first=0, samples=8, threads=1)
    next(retrained.checkpoint.denoiser.parameters()).data.add_(1e-3)
    assert len({campaign.fingerprint, retrained.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_a_sweep_of_guidance_asks_for_the_same_in_all_trials(conditional_checkpoint):
    """Trials of another guidance than the checkpoint's own leave the prefix at its very beginning."""
    targets = Targets.of({"gap": (4500, 7000)})
    campaign = Campaign(load_checkpoint(conditional_checkpoint), 3, 0, 6, 1, targets)
    space = check_space({"sampler.guidance": [0.0, 2.0], "sampler.async_ratio": [0.5]}, campaign)
    indices = branch_indices(campaign, space)
    assert indices == {0, 8, 20, 40}
    buckets = [
        prefix_of(campaign, rows, indices | {0}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)
    ]
    for guidance, ratio in ((0.0, 0.5), (2.0, 0.5), (2.0, 0.0)):
        point = {"sampler.guidance": guidance, "sampler.async_ratio": ratio}
        branched = run_point(campaign, buckets, point)
        direct = sample(campaign.checkpoint, 6, 3, targets=targets, async_ratio=ratio, guidance=guidance)
        assert np.allclose(branched.positions, direct.positions, atol=1e-4)
        assert np.array_equal(branched.properties["nfe"], direct.properties["nfe"])
    points = [{"sampler.async_ratio": 0.0, "sampler.guidance": guidance} for guidance in (0.0, 2.0)]
    assert identity(points[0]) != identity(points[1])
    others = [replace(campaign, targets=None), replace(campaign, targets=Targets.of({"gap": 4500}))]
    assert len({campaign.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_a_formula_is_refused_where_it_cannot_be_told(campaign):
    for formula in ({"atoms_C": 2}, {"atoms_H": 4, "atoms_C": 1, "atoms_O": 1}):
        with pytest.raises(TargetError, match=r"was not trained with atoms_., and a sweep keeps no formula"):
            replace(campaign, targets=Targets.of(formula)).process({})


def test_what_acts_on_synchronous_sampling_leaves_the_prefix_at_its_beginning(campaign):
    space = check_space({"sampler.corrector": [0.0, 0.5], "sampler.temperature": [1.0, 0.5]}, campaign)
    indices = branch_indices(campaign, space)
    buckets = [
        prefix_of(campaign, rows, indices | {0}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)
    ]
    for settings in ({"corrector": 0.5}, {"temperature": 0.5}):
        point = {f"sampler.{key}": value for key, value in settings.items()}
        branched = run_point(campaign, buckets, point)
        direct = sample(campaign.checkpoint, campaign.samples, campaign.seed, **settings)
        assert np.allclose(branched.positions, direct.positions, atol=1e-4)
        assert np.array_equal(branched.properties["nfe"], direct.properties["nfe"])
        assert identity({"sampler.async_ratio": 0.0, **point}) != identity({"sampler.async_ratio": 0.0})


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 12},
        {"solver": "ddim"},
        {"steps": 20, "grid": "quadratic", "solver": "dpmpp_2m_sde", "async_ratio": 0.5},
    ],
)
def test_a_trial_with_other_steps_begins_anew_and_gives_the_molecules_that_ead_sample_gives(campaign, settings):
    point = {f"sampler.{key}": value for key, value in settings.items()}
    buckets = [prefix_of(campaign, rows, {0}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)]
    made = run_point(campaign, buckets, point)
    direct = sample(campaign.checkpoint, campaign.samples, campaign.seed, policy="adaptive", **settings)
    assert np.allclose(made.positions, direct.positions, atol=1e-4)
    assert np.array_equal(made.properties["nfe"], direct.properties["nfe"])
    assert identity({"sampler.async_ratio": 0.0, **point}) != identity({"sampler.async_ratio": 0.0})


def test_a_trial_between_two_stored_levels_gives_the_molecules_that_ead_sample_gives(campaign):
    """Of a continuous parameter only some levels are stored; a trial takes the nearest one above."""
    wide = {"sampler.async_ratio": {"type": "float", "low": 0, "high": 0.8}}
    indices = branch_indices(campaign, check_space(wide, campaign))
    assert len(indices) == 9
    assert max(indices) == 32
    point = {"sampler.async_ratio": 0.47}
    assert campaign.branch_index(point) not in indices
    buckets = [
        prefix_of(campaign, rows, indices | {0}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)
    ]
    direct = sample(campaign.checkpoint, campaign.samples, campaign.seed, policy="adaptive", async_ratio=0.47)
    assert np.array_equal(run_point(campaign, buckets, point).positions, direct.positions)


def test_an_unusable_tracking_store_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for uri in ("nonsense://x", f"sqlite:///{tmp_path}/file/m.db"):
        with pytest.raises(EADError, match=r"the MLflow store .* cannot be used") as error:
            SweepTracker(Settings(uri, None, None, False), None, "sweep", {})
        assert "\n" not in str(error.value)


def test_a_job_without_a_lasting_store_is_refused(tmp_path):
    with pytest.raises(EADError, match="MLFLOW_TRACKING_URI is not set, and a submitted job"):
        SweepTracker(Settings("sqlite:///mlflow.db", "mlruns", None, True), None, "sweep", {})


def test_an_address_without_a_cluster_is_one_sentence():
    settings = Settings("", None, "127.0.0.1:1", False)
    with pytest.raises(EADError, match=r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:1"), ray_session(settings):
        pass


def test_a_resumed_folder_must_be_the_same_sweep(tmp_path):
    def opened(name, question, resume):
        return SweepFolder(tmp_path / name, question, resume, SPACE, GOALS)

    folder = opened("s", {"samples": 5}, False)
    folder.remember_run("abc")
    point = {"sampler.async_ratio": 0.2, "sampler.pause_mode": "hold"}
    folder.add(point, {"molecule_stability": 0.5, "nfe_per_molecule": 3.0})
    again = opened("s", {"samples": 5}, True)
    assert again.parent_run == "abc"
    assert again.rows == folder.rows
    with pytest.raises(EADError, match="holds a sweep with samples=5, not 6"):
        opened("s", {"samples": 6}, True)
    with pytest.raises(EADError, match="holds a sweep with objectives=None, not x:max"):
        opened("s", {"samples": 5, "objectives": "x:max"}, True)
    with pytest.raises(EADError, match="holds a sweep with samples=5, not None"):
        opened("s", {}, True)
    with pytest.raises(EADError, match="is not empty"):
        opened("s", {"samples": 5}, False)
    with pytest.raises(EADError, match="holds no sweep to resume"):
        opened("nothing", {"samples": 5}, True)


def test_a_stopped_sweep_is_tracked_as_such_and_says_how_to_continue(store, settings, tmp_path, capsys):
    folder = SweepFolder(tmp_path / "s", {}, False, SPACE, GOALS)
    console = SweepConsole(folder, SweepTracker(settings, None, "sweep", {}), settings, Plan(SPACE, GOALS, 9))
    with pytest.raises(SystemExit) as ended, console.closing():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert "--resume" in capsys.readouterr().out
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("ead").experiment_id])
    assert run.info.status == "KILLED"


def test_tracking_a_trial_twice_leaves_one_run_and_mends_a_half_written_one(tmp_path):
    settings = Settings(f"sqlite:///{tmp_path / 'm.db'}", None, None, False)
    tracker = SweepTracker(settings, None, "sweep", {"samples": 5})
    client = MlflowClient(settings.tracking_uri)
    tracker.log_trial("trial-000", {"a": 1}, {"q": 0.5})
    [run] = tracker._trials("trial-000")
    client.update_run(run.info.run_id, status="RUNNING")  # as a kill between creation and end leaves it
    tracker.log_trial("trial-000", {"a": 1}, {"q": 0.6})
    tracker.log_trial("trial-000", {"a": 1}, {"q": 0.7})
    [run] = tracker._trials("trial-000")
    assert run.data.metrics == {"q": 0.6}


def test_relative_output_is_refused_inside_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(EADError, match="is relative, but a submitted job runs in a temporary copy"):
        Settings.from_environment().output_folder(tmp_path.relative_to("/"))
