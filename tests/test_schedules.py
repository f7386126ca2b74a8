"""The controlled experiment of schedules: random pauses at equal calls, plain cooling, and a run in a small form."""

import json
from pathlib import Path

import pytest
import torch
from ead_platform.sweep.study import Campaign

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.store import load_npz
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.sampling.generation import sample

from .benchmark_model import untrained

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model of six atoms with 20 levels."""
    return untrained(tmp_path_factory.mktemp("model"), (1, 6, 8), 6)


@pytest.mark.parametrize("together", [False, True])
def test_calls_of_random_pauses_are_known_without_the_network(model, together):
    from schedules_rates import random_calls

    campaign = Campaign(load_checkpoint(model), seed=3, first=0, samples=6, threads=1)
    settings = {"policy": "random", "async_ratio": 0.5, "together": together, "advance_rate": [0.3, 0.6], "interval": 3}
    made = sample(campaign.checkpoint, 6, 3, **settings)
    found = random_calls(campaign, {f"sampler.{key}": value for key, value in settings.items()})
    assert found == made.properties["nfe"].mean() > 21


@pytest.mark.parametrize("together", [False, True])
def test_rates_are_solved_with_the_clamp_at_work(model, together):
    from schedules_rates import RATE, matched_rates, random_calls

    campaign = Campaign(load_checkpoint(model), seed=3, first=0, samples=30, threads=1)
    settings = {"sampler.policy": "random", "sampler.async_ratio": 0.5, "sampler.together": together}
    measured = {"nfe_per_molecule": 40.0, "rates": [0.4, 0.5, *[0.8] * 8]}
    rates = matched_rates(campaign, settings, measured)
    assert random_calls(campaign, {**settings, RATE: rates}) == pytest.approx(40, abs=1)
    assert len(rates) == (1 if together else 10)
    unreachable = matched_rates(campaign, settings, measured | {"nfe_per_molecule": 1e6})
    assert max(unreachable) < 0.01


def test_plain_cooling_quietens_the_last_fifth_of_the_levels():
    from schedules_work import quieter

    schedule, t = NoiseSchedule(1000), torch.tensor([100, 200, 201, 900])
    plain, cooled = schedule.reverse(t, t - 1), quieter(0.5, schedule, t, t - 1)
    assert (cooled.noise / plain.noise).tolist() == pytest.approx([0.5, 0.5, 1, 1])
    assert torch.equal(cooled.mean_z, plain.mean_z)


def test_in_small_form_all_rows_are_measured_once_and_go_on_where_they_were(model, tmp_path, monkeypatch):
    import schedules
    import schedules_work

    def run(cores=1):
        schedules.main(str(model), [], num=3, cells=2, seed=0, cores=cores, work=tmp_path / "work", report=report)

    def killed(*_):
        raise KeyboardInterrupt

    report, started, run_bucket = tmp_path / "report.md", [], schedules_work._run_bucket
    with monkeypatch.context() as patch:
        patch.setattr(schedules, "save_npz", killed)  # after the buckets of the first row
        with pytest.raises(KeyboardInterrupt):
            run()
    with monkeypatch.context() as patch:
        patch.setattr(schedules_work, "_run_bucket", lambda *all: started.append(all[2].name) or run_bucket(*all))
        patch.setattr(schedules_work, "_keep_prefix", killed)
        run()
    rows = {row.name: row for make in schedules.TABLES.values() for row in make()}
    assert sorted(started) == sorted(set(rows) - {schedules.SYNCHRONOUS})
    [folder] = (path.parent for path in tmp_path.rglob("synchronous.json"))
    calls = {name: json.loads((folder / f"{name}.json").read_text())["nfe_per_molecule"] for name in rows}
    assert calls["cooled-0.85"] == calls["synchronous"] == 21
    assert calls["manual-lag-5"] == 26
    text = report.read_text()
    assert all(f"\n| {name} |" in text for name in rows)
    assert "| asynchrony matters, in repeat | adaptive-repeat | together-repeat |" in text
    made = sample(load_checkpoint(model), 3, policy="adaptive", async_ratio=0.2)
    assert torch.equal(*(torch.tensor(m.positions) for m in (made, load_npz(folder / "adaptive-repeat.npz"))))
