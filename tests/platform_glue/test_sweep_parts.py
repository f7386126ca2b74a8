"""The pieces of a sweep without a cluster: exactness of branching, proposals, records, tracking."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
from ead_platform.sweep import study
from ead_platform.sweep.records import SweepFolder
from ead_platform.sweep.report import SweepConsole
from ead_platform.sweep.search import DistinctOptunaSearch
from ead_platform.sweep.study import (
    Campaign,
    branch_indices,
    check_space,
    identity,
    prefix_of,
    reference_points,
    run_point,
    shared_prefix,
)
from ead_platform.sweep.tracking import SweepTracker
from mlflow.tracking import MlflowClient
from optuna.distributions import CategoricalDistribution

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import size_buckets
from ead_core.data.targets import TargetError, Targets
from ead_core.errors import EADError
from ead_core.sampling.generation import sample

SPACE = {"sampler.async_ratio": [0.0, 0.2, 0.5], "sampler.pause_mode": ["repeat", "hold"]}


@pytest.fixture
def campaign(tiny_checkpoint):
    return Campaign(load_checkpoint(tiny_checkpoint), seed=3, first=0, samples=8, threads=1)


def test_a_trial_gives_the_molecules_that_ead_sample_gives(campaign):
    indices = branch_indices(campaign, SPACE)
    assert indices == {0, 8, 20}
    buckets = [
        prefix_of(campaign, rows, indices | {0}) for rows in size_buckets(campaign.sizes, campaign.molecules_per_call)
    ]
    for ratio in SPACE["sampler.async_ratio"]:
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
    ("space", "sentence"),
    [
        ([1, 2], "must map sampler keys to lists"),
        ({"training.steps": [1]}, "'training.steps' must be a sampler key"),
        ({"sampler.async_ratio": 0.2}, "'sampler.async_ratio' must be a sampler key with a list"),
        ({"sampler.guidance_levels": [[0.1, 0.4]]}, "guidance_levels must be single values, not [0.1, 0.4]."),
        ({"sampler.steps": [10]}, "must be the same in all trials"),
        ({"sampler.solver": ["ddim"]}, "must be the same in all trials"),
        ({"sampler.grid": ["quadratic"]}, "must be the same in all trials"),
        ({"sampler.start": [0.5]}, "must be the same in all trials"),
        ({"sampler.pause_mode": ["repat"]}, "sampler.pause_mode: must be 'repeat', 'renoise' or 'hold'"),
        ({"sampler.lag": [1, 2]}, "sampler.lag has no effect in any trial; it needs sampler.policy=manual."),
        ({"sampler.async_ratoi": [0.1]}, "did you mean sampler.async_ratio?"),
        ({"sampler.interval": [99]}, "exceeds twice the training interval"),
        ({"sampler.guidance": [0, 1]}, "sampler.guidance=1 needs a model that was trained with properties"),
    ],
)
def test_a_wrong_space_is_one_sentence(campaign, space, sentence):
    with pytest.raises(EADError) as error:
        check_space(space, campaign)
    assert sentence in str(error.value)


def test_reference_points_are_added_to_any_space(campaign):
    space = check_space({"sampler.async_ratio": [0.4], "sampler.max_pauses": [3, 10]}, campaign)
    assert space["sampler.async_ratio"] == [0.4, 0.0, 0.2]
    assert reference_points(space) == [
        {"sampler.async_ratio": 0.0, "sampler.max_pauses": 3},
        {"sampler.async_ratio": 0.2, "sampler.max_pauses": 3},
    ]


def test_a_space_without_the_ratio_gets_it_for_the_baseline(campaign):
    space = check_space({"sampler.history_window": [3]}, campaign)
    assert space == {"sampler.async_ratio": [0.2, 0.0], "sampler.history_window": [3, 2]}
    assert reference_points(space)[0] == {"sampler.async_ratio": 0.0, "sampler.history_window": 2}


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


def make_search(seed=0):
    distributions = {key: CategoricalDistribution(choices) for key, choices in SPACE.items()}
    return DistinctOptunaSearch(identity, space=distributions, metric="q", mode="max", points_to_evaluate=None)


def test_every_point_is_proposed_once_and_then_the_search_ends():
    search = make_search()
    points = []
    for number in range(10):
        point = search.suggest(f"t{number}")
        if point == "FINISHED":
            break
        points.append(point)
        search.on_trial_complete(f"t{number}", {"q": 0.1 * number, "training_iteration": 1})
    assert len({identity(point) for point in points}) == len(points) == 5  # synchronous once, 2 × 2 others


def test_points_of_an_earlier_sitting_are_not_proposed_again():
    search = make_search()
    search.add_finished({"sampler.async_ratio": 0.2, "sampler.pause_mode": "hold"}, 0.5)
    proposals = [search.suggest(f"t{number}") for number in range(5)]
    assert proposals[-1] == "FINISHED"
    assert {"sampler.async_ratio": 0.2, "sampler.pause_mode": "hold"} not in proposals


def test_a_resumed_folder_must_be_the_same_sweep(tmp_path):
    folder = SweepFolder(tmp_path / "s", {"samples": 5}, resume=False)
    folder.remember_run("abc")
    folder.add({"sampler.async_ratio": 0.2}, {"molecule_stability": 0.5, "nfe_per_molecule": 3.0})
    again = SweepFolder(tmp_path / "s", {"samples": 5}, resume=True)
    assert again.parent_run == "abc"
    assert again.rows == folder.rows
    with pytest.raises(EADError, match="holds a sweep with samples=5, not 6"):
        SweepFolder(tmp_path / "s", {"samples": 6}, resume=True)
    with pytest.raises(EADError, match="is not empty"):
        SweepFolder(tmp_path / "s", {"samples": 5}, resume=False)
    with pytest.raises(EADError, match="holds no sweep to resume"):
        SweepFolder(tmp_path / "nothing", {"samples": 5}, resume=True)


def test_a_stopped_sweep_is_tracked_as_such_and_says_how_to_continue(store, settings, tmp_path, capsys):
    folder, tracker = SweepFolder(tmp_path / "s", {}, resume=False), SweepTracker(settings, None, "sweep", {})
    with pytest.raises(SystemExit) as ended, SweepConsole(folder, tracker, settings, list(SPACE), 9).closing():
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
