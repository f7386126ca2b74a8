"""`training.patience`: the best weights are what is published, and nothing better for a while ends a training."""

import signal

import pytest
import torch
from safetensors.torch import load_file

from ead_core.checkpoints.checkpoint import WEIGHTS
from ead_core.errors import ConfigError, DataError
from ead_core.training.best import BEST
from ead_core.training.fit import fit
from ead_core.training.held_out import HELD_OUT_LOSS, held_out_check
from ead_core.training.objectives import build_objective
from ead_core.training.progress import steps_done

LOSSES = [3.0, 1.0, 2.0, 1.5, 0.5, 0.4]  # after steps 1, 2, …
EVERY_STEP = {"training.steps": 6, "training.evaluate_every": 1, "training.patience": 2}


@pytest.fixture
def run(make_config, molecules, statistics, tmp_path):
    """`fit` with planted losses; returns the folder, and the averaged weights at each check."""

    def run(folder, changes=(), interrupt=None):
        seen = {}

        def evaluate(network, step):
            seen[step] = {name: weight.clone() for name, weight in network.state_dict().items()}
            if step == interrupt:
                signal.raise_signal(signal.SIGINT)
            return {HELD_OUT_LOSS: LOSSES[step - 1]}

        config = make_config({**EVERY_STEP, **dict(changes)})
        return fit(config, molecules, statistics, tmp_path / folder, evaluate=evaluate), seen

    return run


def same(published, weights):
    return all(torch.equal(weights[name], weight) for name, weight in published.items())


def test_training_ends_after_two_worse_checks_with_the_weights_of_the_best(run):
    folder, seen = run("run")
    assert steps_done(folder) == 4
    published = load_file(folder / WEIGHTS)
    assert same(published, seen[2])
    assert not same(published, seen[4])


def test_more_patience_finds_what_comes_later(run):
    folder, seen = run("run", {"training.patience": 3})
    assert steps_done(folder) == 6
    assert same(load_file(folder / WEIGHTS), seen[6])


def test_without_it_the_last_weights_are_published(run):
    folder, seen = run("run", {"training.patience": None})
    assert steps_done(folder) == 6
    assert same(load_file(folder / WEIGHTS), seen[6])
    assert not (folder / BEST).exists()


def test_an_interrupted_run_ends_as_one_that_was_not(run):
    straight, _ = run("straight")
    run("broken", interrupt=3)
    broken, later = run("broken")
    assert steps_done(broken) == 4
    assert list(later) == [4]
    assert same(load_file(straight / WEIGHTS), load_file(broken / WEIGHTS))


def test_what_has_ended_does_not_go_on_and_may_with_more_patience(run):
    folder, _ = run("run")
    assert run("run")[1] == {}
    assert list(run("run", {"training.patience": 3})[1]) == [5, 6]
    assert steps_done(folder) == 6


def test_best_weights_of_a_step_that_is_gone_are_not_taken(run, tmp_path):
    """A machine failed after the check of step 2, and before its state was saved: step 1 is what is left."""
    run("long", interrupt=2)
    run("short", interrupt=1)
    (tmp_path / "long" / BEST).replace(tmp_path / "short" / BEST)
    folder, seen = run("short")
    assert list(seen) == [2, 3, 4]
    assert same(load_file(folder / WEIGHTS), seen[2])


@pytest.mark.parametrize("changes", [{}, {"network.self_conditioning": True}])
def test_the_held_out_loss_is_a_function_of_the_weights(make_config, molecules, statistics, changes):
    objective = build_objective(make_config({**changes, "training.batch_size": 32}), statistics)
    check, network = held_out_check(objective, molecules.select(range(5))), objective.network()
    first = check(network, 1)[HELD_OUT_LOSS]
    assert first == check(network, 2)[HELD_OUT_LOSS]
    with torch.no_grad():
        network.network.readout.bias.add_(0.5)
    assert check(network, 3)[HELD_OUT_LOSS] > first


def test_what_cannot_be_waited_for_is_refused(make_config, molecules, statistics):
    objective = build_objective(make_config(), statistics)
    with pytest.raises(DataError, match="needs validation molecules"):
        held_out_check(objective, molecules.select([]))
    with pytest.raises(ConfigError, match=r"must be null with training\.xbar=buffer"):
        make_config({"training.patience": 1, "network.self_conditioning": True, "training.xbar": "buffer"})
