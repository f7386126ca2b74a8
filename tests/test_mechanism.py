"""The temperature of visited states, where it is known exactly, and the program in a small form."""

import re
import runpy
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ead_core.data.tensors import size_mask
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.policy import RandomPauses, Synchronous
from ead_core.diffusion.posterior import Solver
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.sampling.sampler import predict
from ead_core.sampling.state import initial_state

from .benchmark_model import untrained

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCHEDULE = NoiseSchedule(1000)
GRID = torch.tensor([0, 5, 10, 30, 40, 60, 80, 120, 160, 250, 400, 1000])
BELOW = slice(0, 4)  # bands below 0.2 T
CHANNELS = 5


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model of three atoms with 20 levels."""
    return untrained(tmp_path_factory.mktemp("model"), (1, 8), 3)


def all_noise(inputs):
    """ε̂ of a state whose clean molecule is known to be zero, as are all molecules here: exact on any grid."""
    return inputs.z / SCHEDULE.sigma(inputs.levels)[..., None].to(inputs.z.dtype)


def seen(count=800, run=None, **changes):
    """Temperatures [1 + draws, bands, 2] of a sampler with the exact denoiser; of what `run` sees, if it is given."""
    from mechanism_report import temperatures
    from mechanism_states import Thermometer, to_the_end

    process = replace(Process(all_noise, SCHEDULE, GRID, Synchronous()), **changes)
    mask = size_mask([3, 5] * (count // 2))
    see = Thermometer(process, torch.zeros(*mask.shape, CHANNELS))
    ids = torch.arange(count)
    (run or to_the_end)(initial_state(torch.zeros_like(ids), ids, mask, CHANNELS, process), process, see)
    return temperatures({"sums": see.sums.tolist()})


def holds(values, truth):
    """Whether the intervals, of 99.9 % and narrow enough to refute, hold it."""
    low, high = np.percentile(values[1:], (0.05, 99.95), axis=0)
    return bool(((low <= truth) & (truth <= high)).all() and (high - low).max() < 0.3)


def test_of_real_molecules_and_of_an_exact_sampler_the_temperature_is_one():
    from mechanism_states import as_real

    assert holds(seen(run=as_real), 1)
    assert holds(seen(), 1)


@pytest.mark.parametrize("heat", [0.8, 1.2])
def test_states_with_more_noise_are_hotter_by_its_square_at_whatever_levels(heat):
    def visit(state, process, see):
        generator = torch.Generator().manual_seed(0)
        for made in range(20):
            steps = torch.randint(1, len(GRID), state.mask.shape, generator=generator) * state.mask
            now = replace(state, grid_index=steps, iterations=torch.full_like(state.ids, made))
            partners = see.partners(now, other=2)
            see(now, predict(replace(partners, z=heat * partners.z), process))

    found = seen(run=visit)
    assert holds(found, heat**2)
    assert not holds(found, 1)


def test_pauses_that_renoise_keep_the_temperature_and_those_that_repeat_cool_as_less_noise_does():
    from schedules_work import quieter

    policy = RandomPauses(start=8, clamp=1000, max_pauses=10, rates=(0.5,), together=True)
    renoised = seen(policy=policy, pause=PAUSES["renoise"])
    repeated = seen(policy=policy, pause=PAUSES["repeat"])
    cooled = seen(solver=Solver(partial(quieter, 0.7)))
    assert holds(renoised, 1)
    for cool in (repeated, cooled):
        _, high = np.percentile(cool[1:], (2.5, 97.5), axis=0)
        assert (high[BELOW] < 1).all()
        assert holds(cool[:, BELOW.stop :], 1)


def test_ratios_have_the_intervals_of_a_paired_difference():
    from resampled import ratios, with_interval

    generator = np.random.default_rng(1)
    wholes = generator.uniform(1, 2, size=400)
    parts = wholes * generator.normal(0.5, 0.1, size=400)
    value, low, high = with_interval(ratios(parts, wholes))
    assert value == pytest.approx(parts.sum() / wholes.sum())
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)
    value, low, high = with_interval(ratios(parts + 0.1 * wholes, wholes) - ratios(parts, wholes))
    assert (value, high - low) == (pytest.approx(0.1), pytest.approx(0, abs=1e-9))


def test_in_small_form_all_rows_are_measured_once(model, tmp_path, monkeypatch, capsys):
    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n" * 40)
    options = [f"--data={tmp_path / 'water.xyz'}", f"--work={tmp_path / 'work'}", "--num=3"]
    settings = ["sampler.steps=10", "sampler.grid=even"]
    monkeypatch.setattr(sys, "argv", ["mechanism.py", str(model), *settings, *options])

    def run():
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(FOLDER / "mechanism.py"), run_name="__main__")
        assert end.value.code == 0
        return capsys.readouterr().out

    first = run()
    calls = dict(re.findall(r"^\| ([\w.-]+) \| (\d+) \| \d", first, re.MULTILINE))
    assert calls["synchronous"] == calls["cooled-0.85"] == "11"
    assert calls["corrector"] == "12"
    assert abs(int(calls["adaptive-repeat"]) - int(calls["together-repeat"])) <= 2
    monkeypatch.setattr("ead_core.sampling.sampler.predict", None)
    assert run() == first
