"""Recording changes nothing, misses nothing, and what it keeps explains what the schedule did."""

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.errors import ConfigError
from ead_core.sampling.generation import fulfil, sample
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.traces.recorder import Recorder, check_traceable, describe

SIZES = [5, 9, 4]
STEPS, START = 20, 10
ADAPTIVE = {"policy": "adaptive", "decision": "own_noise", "async_ratio": START / STEPS, "max_pauses": 3}


@pytest.fixture
def checkpoint(make_checkpoint):
    return load_checkpoint(make_checkpoint())


def recorded(checkpoint, num=4, **settings):
    """Three molecules at once, so that one joins when another is done."""
    recorder = Recorder(checkpoint.atom_types)
    request = Request(num, sampler_config(checkpoint, {"batch_size": 3, **settings}), 1, sizes=tuple(SIZES))
    molecules = fulfil(checkpoint, request, observe=recorder)
    return molecules, recorder.trace(molecules, "title").molecules


def test_recording_does_not_change_molecules(checkpoint):
    watched, _ = recorded(checkpoint, **ADAPTIVE)
    alone = sample(checkpoint, 4, 1, SIZES, batch_size=3, beyond_training=True, **ADAPTIVE)
    assert np.array_equal(watched.positions, alone.positions)
    assert np.array_equal(watched.charges, alone.charges)
    assert np.array_equal(watched.properties["nfe"], alone.properties["nfe"])


@pytest.mark.parametrize("settings", [ADAPTIVE, {"policy": "synchronous", "steps": 7}, {"policy": "manual"}], ids=str)
def test_every_call_is_a_frame_from_noise_to_the_molecule(checkpoint, settings):
    molecules, traces = recorded(checkpoint, **settings)
    assert [trace.id for trace in traces] == molecules.properties["id"].tolist()
    for index, trace in enumerate(traces):
        charges, positions = molecules.molecule(index)
        assert len(trace.levels) == molecules.properties["nfe"][index] + 1
        assert (trace.levels[0] == STEPS).all()
        assert (trace.levels[-2:] == 0).all()
        assert (np.diff(trace.levels, axis=0) <= 0).all()
        assert np.array_equal(trace.charges[-1], charges)
        assert np.array_equal(trace.positions[-1], positions)
        assert np.abs(trace.positions[-2] - positions).max() < 1.5  # σ of level 0 is 0.1 here
        assert np.abs(trace.positions[0] - positions).max() > 0.5
        assert trace.positions.dtype == np.float32


def test_levels_are_those_of_the_grid(checkpoint):
    _, (trace, *_) = recorded(checkpoint, policy="synchronous", steps=4)
    assert trace.levels[:, 0].tolist() == [20, 15, 10, 5, 0, 0]
    assert not trace.paused.any()


def test_the_velocities_explain_the_pauses(checkpoint):
    """Below the asynchronous start an atom pauses if and only if its velocity has not fallen, within its patience."""
    _, traces = recorded(checkpoint, history_window=2, interval=10, **ADAPTIVE)
    explained = 0
    for trace in traces:
        patience = np.zeros(trace.levels.shape[1], dtype=int)
        for call in range(2, len(trace.levels) - 1):
            before = trace.levels[call - 1]
            fell = trace.velocities[call] < trace.velocities[call - 1]
            waits = (before > 0) & (before <= START) & ~fell & (patience < ADAPTIVE["max_pauses"])
            assert np.array_equal(trace.paused[call], waits)
            patience = (patience + 1) * waits
            explained += waits.sum()
    assert explained > 20


def test_empty_slots_of_a_model_with_dummies_stay_where_they_were(make_checkpoint):
    checkpoint = load_checkpoint(make_checkpoint({"diffusion.size_mode": "dummy"}))
    recorder = Recorder(checkpoint.atom_types)
    request = Request(4, sampler_config(checkpoint, {"policy": "synchronous"}), 1)
    molecules = fulfil(checkpoint, request, observe=recorder)
    for index, trace in enumerate(recorder.trace(molecules, "title").molecules):
        charges, positions = molecules.molecule(index)
        real = trace.charges[-1] > 0
        assert np.array_equal(trace.charges[-1][real], charges)
        assert np.array_equal(trace.positions[-1][real], positions)
        assert np.array_equal(trace.positions[-1][~real], trace.positions[-2][~real])


def test_no_more_molecules_than_fit(checkpoint):
    check_traceable(64)
    with pytest.raises(ConfigError, match=r"^at most 64 molecules can be traced at once, not 65\.$"):
        check_traceable(65)


def test_the_title_names_what_the_schedule_goes_by(checkpoint):
    titles = [
        describe("small", prepare(checkpoint, Request(1, sampler_config(checkpoint, settings), 3)))
        for settings in ({"async_ratio": 0.5}, {"policy": "synchronous"})
    ]
    assert titles == [
        "small · seed 3 · adaptive · last 10 steps · history_window 2 · pause_mode repeat",
        "small · seed 3 · synchronous",
    ]
