"""The loop learns, resumes to the bit, stops when told to, and touches nobody else's folder."""

import contextlib
import json
import math
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.batching import TrainingBatches
from ead_core.errors import CheckpointError, DataError
from ead_core.training import fit as module
from ead_core.training.fit import fit
from ead_core.training.monitor import LossWindow
from ead_core.training.parallel import Workers
from ead_core.training.progress import PROGRESS, load_progress, steps_done
from ead_core.training.quality import quality_check
from ead_core.training.trainer import Trainer, rate_factor

ALONE = Workers(0, 1, torch.device("cpu"))
MUON = {
    "training.optimizer": "muon",
    "network.hidden_features": 24,
    "network.layers": 2,
    "network.edge_features": 24,
}


@pytest.fixture
def run(make_config, molecules, statistics, tmp_path):
    """`fit` with dotted settings in a folder below tmp_path."""

    def run(folder="run", changes=(), **arguments):
        return fit(make_config(changes), molecules, statistics, tmp_path / folder, **arguments)

    return run


@pytest.fixture
def make_trainer(make_config, statistics):
    return lambda changes=(): Trainer.create(make_config(changes), statistics, ALONE)


def interrupt_at(step, number=signal.SIGINT):
    """An evaluation that presses Ctrl-C after optimiser step `step`."""

    def evaluate(_, now):
        if now == step:
            signal.raise_signal(number)
        return {}

    return evaluate


def assert_same_tensors(a, b):
    a, b = load_file(a), load_file(b)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize(
    ("settings", "stop"), [({}, 4), (MUON, 6)], ids=["within an epoch, adamw", "between epochs, muon"]
)
def test_an_interrupted_run_continues_to_the_bit(run, settings, stop):
    """An epoch has six steps, and the learning rate falls towards the end: both must survive."""
    settings = {
        **settings,
        "training.steps": 10,
        "training.decay_fraction": 0.5,
        "training.evaluate_every": 1,
    }
    straight = run("straight", settings)
    broken = run("broken", settings, evaluate=interrupt_at(stop))
    assert steps_done(broken) == stop
    assert run("broken", settings) == broken
    assert steps_done(broken) == steps_done(straight) == 10
    assert_same_tensors(straight / PROGRESS, broken / PROGRESS)
    assert_same_tensors(straight / "model.safetensors", broken / "model.safetensors")


@pytest.mark.parametrize(
    ("settings", "quantities"),
    [({}, {"exp_avg", "exp_avg_sq", "step"}), (MUON, {"exp_avg", "exp_avg_sq", "step", "momentum_buffer"})],
    ids=["adamw", "muon"],
)
def test_all_optimiser_state_is_stored(run, settings, quantities):
    stored = load_file(run("run", {**settings, "training.steps": 2}) / PROGRESS)
    kinds = {key.split(":")[0] for key in stored if key.startswith("optimizer.")}
    assert kinds == {f"optimizer.{quantity}" for quantity in quantities}


def test_a_run_depends_on_its_seed_alone(run):
    torch.manual_seed(1)
    first = run("first", {"training.steps": 3})
    torch.manual_seed(2)
    assert_same_tensors(first / PROGRESS, run("second", {"training.steps": 3}) / PROGRESS)
    other = load_file(run("other", {"training.steps": 3, "training.seed": 1}) / PROGRESS)
    assert not torch.equal(
        other["weights.network.embed.weight"], load_file(first / PROGRESS)["weights.network.embed.weight"]
    )


def test_the_loss_falls(run, monkeypatch):
    monkeypatch.setattr(module, "LOG_SECONDS", 0.0)
    rows = []
    changes = {"training.steps": 80, "training.batch_size": 12, "training.learning_rate": 1e-2}
    run("run", changes, report=rows.append)
    losses = torch.tensor([row["loss"] for row in rows])
    assert [row["step"] for row in rows] == list(range(1, 81))
    assert losses[-30:].mean() < 0.5 * losses[:10].mean()


def test_a_time_limit_ends_a_sitting_that_can_be_resumed(run):
    start = time.monotonic()
    directory = run("run", {"training.steps": 100_000, "training.max_seconds": 0.2})
    assert 0.2 <= time.monotonic() - start < 5
    done = steps_done(directory)
    assert 0 < done < 100_000
    assert load_checkpoint(directory).config.training.max_seconds == 0.2
    run("run", {"training.steps": done + 2})
    assert steps_done(directory) == done + 2


def test_a_finished_run_stays_as_it_is(run):
    directory = run("run", {"training.steps": 3})
    before = load_file(directory / PROGRESS)
    rows = []
    run("run", {"training.steps": 3}, report=rows.append)
    after = load_file(directory / PROGRESS)
    assert rows == []
    assert all(torch.equal(before[name], after[name]) for name in before)


def train_and_tell(steps, *arguments):
    module.LOG_SECONDS = 0.0
    fit(*arguments, report=lambda row: steps.send(row["step"]))
    steps.send("returned")


def test_ctrl_c_saves_and_stops(make_config, molecules, statistics, tmp_path, capfd, copies):
    config = make_config({"training.steps": 100_000, "training.threads": 1})
    told, steps = copies.Pipe(duplex=False)
    arguments = (steps, config, molecules, statistics, tmp_path / "run")
    process = copies.Process(target=train_and_tell, args=arguments)
    process.start()
    steps.close()
    seen = [told.recv()]
    os.kill(process.pid, signal.SIGINT)
    with contextlib.suppress(EOFError):
        while told.poll(30):
            seen.append(told.recv())
    process.join(30)
    process.kill()
    *made, last = seen
    assert (process.exitcode, last, capfd.readouterr().err) == (0, "returned", "")
    assert steps_done(tmp_path / "run") == made[-1] < 100_000
    assert load_checkpoint(tmp_path / "run").name == "run"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_ends_the_run_and_its_handlers_are_put_back(run, number):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    settings = {"training.steps": 9, "training.evaluate_every": 1}
    assert steps_done(run("run", settings, evaluate=interrupt_at(2, number))) == 2
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_fit_works_outside_the_main_thread(run, tmp_path):
    worker = threading.Thread(target=run, args=("run", {"training.steps": 2}))
    worker.start()
    worker.join()
    assert steps_done(tmp_path / "run") == 2


def test_a_crash_before_the_first_checkpoint_can_be_resumed(run, tmp_path):
    settings = {"training.steps": 4, "training.evaluate_every": 2}

    def crash(_, step):
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run("run", settings, evaluate=crash)
    assert_same_tensors(run("run", settings) / PROGRESS, run("straight", settings) / PROGRESS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network.hidden_features": 16}, "holds a run with network.hidden_features=8, not 16;"),
        ({"diffusion.steps": 60}, "holds a run with diffusion.steps=50, not 60;"),
        ({"training.optimizer": "muon"}, "holds a run with training.optimizer=adamw, not muon;"),
    ],
)
def test_a_run_of_another_model_is_refused(run, tmp_path, changes, sentence):
    directory = run("run", {"training.steps": 2})
    before = load_file(directory / PROGRESS)
    with pytest.raises(CheckpointError) as error:
        run("run", {"training.steps": 4, **changes})
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], w) for name, w in load_file(directory / PROGRESS).items())


def test_a_run_on_other_elements_is_refused(run, make_config, molecules, statistics, tmp_path):
    directory = run("run", {"training.steps": 1})
    other = replace(statistics, atom_numbers=(1, 6, 8), moments={})
    with pytest.raises(CheckpointError, match="other elements"):
        fit(make_config(), molecules, other, directory)


def test_a_foreign_folder_is_refused_and_left_alone(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="is not empty and holds no run to resume"):
        run("run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_an_unreadable_recipe_of_a_run_is_one_sentence(run):
    directory = run("run", {"training.steps": 1})
    (directory / "config.yaml").write_text("data: [1\nnetwork: }")
    with pytest.raises(CheckpointError, match="recipe cannot be read") as error:
        run("run")
    assert "\n" not in str(error.value)


def test_an_unknown_element_leaves_no_folder(make_config, molecules, statistics, tmp_path):
    with pytest.raises(DataError, match="element O"):
        fit(make_config(), molecules, replace(statistics, atom_numbers=(1, 6)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluation_sees_the_average_and_changes_nothing(run):
    settings = {"training.steps": 6, "training.evaluate_every": 3}
    seen, rows = {}, []

    def evaluate(denoiser, step):
        torch.rand(1)  # the global generator is nobody's
        assert not denoiser.training
        seen[step] = {name: p.detach().clone() for name, p in denoiser.named_parameters()}
        return {"quality": 0.5}

    watched = run("watched", settings, report=rows.append, evaluate=evaluate)
    assert_same_tensors(run("plain", settings) / PROGRESS, watched / PROGRESS)
    assert [row for row in rows if "quality" in row] == [{"step": s, "quality": 0.5} for s in (3, 6)]
    published, state = load_file(watched / "model.safetensors"), load_file(watched / PROGRESS)
    assert all(torch.equal(seen[6][name], published[name]) for name in published)
    assert not torch.equal(published["network.embed.weight"], state["weights.network.embed.weight"])


def test_reports_are_plain_numbers(run):
    rows = []
    run(
        "run",
        {"training.steps": 5, "training.warmup_steps": 0, "training.decay_fraction": 0.0},
        report=rows.append,
    )
    (row,) = rows
    assert json.loads(json.dumps(row)) == row
    assert row["step"] == 5
    assert row["learning_rate"] == 1e-3
    assert row.keys() >= {"seconds", "molecules_per_second", "loss", "gradient_norm"}


def test_the_rate_warms_up_stays_and_falls(make_config):
    config = make_config({"training.steps": 100, "training.warmup_steps": 9, "training.decay_fraction": 0.2})
    factors = [rate_factor(config, step) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:81] == [1.0] * 71
    assert factors[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])


def test_the_rate_reaches_every_part_of_the_optimiser(make_trainer, molecules):
    trainer = make_trainer({**MUON, "training.warmup_steps": 3})
    batches = TrainingBatches(molecules, trainer.atom_types, 4, 0)
    for share in (0.25, 0.5, 0.75, 1.0):
        trainer.advance(batches.batch(trainer.step))
        rates = [group["lr"] for part in trainer.optimizer._parts for group in part.param_groups]
        assert rates == pytest.approx([share * 1e-3, share * 0.012])


def test_without_warm_up_and_decay_the_rate_is_constant(make_config):
    config = make_config({"training.warmup_steps": 0, "training.decay_fraction": 0.0})
    assert {rate_factor(config, step) for step in (0, 1, 10**6)} == {1.0}


def test_a_window_reports_means_and_bands_once():
    window = LossWindow()
    window.add(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.05, 0.3]), torch.tensor(4.0), 6)
    window.add(torch.tensor([4.0, 10.0]), torch.tensor([0.49, 0.5]), torch.tensor(6.0), 4)
    assert window.molecules == 10  # of all workers
    assert window.drain() == {
        "loss": 4.0,
        "gradient_norm": 5.0,
        "loss_above_0": 1.0,
        "loss_above_0.05": 2.0,
        "loss_above_0.2": 3.5,
        "loss_above_0.5": 10.0,
    }
    window.add(torch.tensor([7.0]), torch.tensor([1.0]), torch.tensor(1.0), 2)
    assert window.drain() == {"loss": 7.0, "gradient_norm": 1.0, "loss_above_0.5": 7.0}


def test_gradients_are_clipped(make_trainer, molecules, monkeypatch):
    """The optimiser sees the gradient scaled to `clip_norm`, the report the norm before."""

    def norms(clip):
        trainer = make_trainer({"training.clip_norm": clip})
        step, seen = trainer.optimizer.step, []

        def watch(factor):
            seen.append(math.hypot(*(float(p.grad.norm()) for p in trainer.network.parameters())))
            step(factor)

        monkeypatch.setattr(trainer.optimizer, "step", watch)
        batches = TrainingBatches(molecules, trainer.atom_types, 4, 0)
        trainer.advance(batches.batch(0))
        return seen[0], trainer.window.drain()["gradient_norm"]

    unclipped, reported = norms(1e9)
    assert unclipped == pytest.approx(reported, rel=1e-4)
    assert unclipped > 0.02
    assert norms(0.01) == (pytest.approx(0.01, rel=1e-3), pytest.approx(reported))


@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0])
def test_the_recipe_says_how_often_levels_near_the_focus_are_drawn(make_trainer, molecules, focus):
    """Shares of T within 0.12 and 0.52: Φ(±2.1) of the logit-normal, √0.52 − √0.12 of the levels T u²."""
    trainer = make_trainer({"training.level_power": 2, "training.level_focus": focus, "diffusion.interval": 0})
    batch = TrainingBatches(molecules, trainer.atom_types, 24, 0).batch(0)
    drawn = []
    for _ in range(25):
        drawn.append(trainer.losses(batch, torch.arange(24))[1])
        trainer.step += 1
    levels = torch.cat(drawn)
    expected = focus * 0.97 + (1 - focus) * 0.375
    assert float(((levels > 0.12) & (levels < 0.52)).double().mean()) == pytest.approx(expected, abs=0.06)


def test_muon_gets_the_inner_matrices_and_adam_all_else(make_trainer):
    trainer = make_trainer(MUON)
    names = {id(parameter): name for name, parameter in trainer.network.named_parameters()}
    adam, muon = (
        {names[id(p)]: p for group in part.param_groups for p in group["params"]} for part in trainer.optimizer._parts
    )
    assert muon
    assert all(name.startswith("network.blocks.") for name in muon)
    assert all(p.ndim == 2 and min(p.shape) > 16 for p in muon.values())
    assert min(adam["network.embed.weight"].shape) > 16  # large, but the first layer
    assert sorted([*adam, *muon]) == sorted(names.values())


def test_an_empty_folder_is_a_fresh_start(make_trainer, statistics, tmp_path):
    assert not load_progress(tmp_path, make_trainer(), statistics)
    assert not load_progress(tmp_path / "new", make_trainer(), statistics)


def test_checkpoints_are_written_while_training(run, monkeypatch, tmp_path):
    seen = []
    run(
        "run",
        {"training.steps": 4, "training.checkpoint_seconds": 1e-9, "training.evaluate_every": 1},
        evaluate=lambda _, step: seen.append(steps_done(tmp_path / "run")) or {},
    )
    assert seen == [0, 1, 2, 3]


def test_a_run_can_start_from_the_weights_of_a_checkpoint(run, make_config, statistics, tmp_path):
    """Fine-tuning: nothing but the weights is taken over, and a resumed run keeps its own."""
    first = run("first", {"training.steps": 3})
    trainer = Trainer.create(make_config({"training.initial": str(first)}), statistics, ALONE)
    weights = load_file(first / "model.safetensors")
    assert all(torch.equal(weights[name], p) for name, p in trainer.network.named_parameters())
    assert all(torch.equal(weights[name], trainer.ema.weights[name]) for name in weights)
    assert trainer.step == 0
    second = run("second", {"training.steps": 2, "training.initial": str(first)})
    halfway = load_file(second / PROGRESS)
    run("second", {"training.steps": 4, "training.initial": str(first)})
    assert steps_done(second) == 4
    straight = run("straight", {"training.steps": 4, "training.initial": str(first)})
    assert_same_tensors(second / PROGRESS, straight / PROGRESS)
    assert not torch.equal(halfway["weights.network.embed.weight"], weights["network.embed.weight"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training.initial": "nowhere"}, "'nowhere' is neither a checkpoint directory"),
        ({"network.layers": 2}, r"training\.initial=checkpoint was trained with network\.layers=1, not 2\."),
        ({"diffusion.steps": 60}, r"was trained with diffusion\.steps=50, not 60\."),
    ],
)
def test_initial_weights_of_another_model_are_refused(run, make_checkpoint, tmp_path, changes, sentence):
    initial = make_checkpoint({"diffusion.steps": 50})
    with pytest.raises(CheckpointError, match=sentence):
        run("run", {"training.initial": str(initial), **changes})
    assert not (tmp_path / "run").exists()


def test_double_precision_trains_and_samples_in_double_precision(run, make_config, molecules, statistics):
    seen = []
    check = quality_check(make_config({"training.evaluate_molecules": 2}), statistics, None)

    def evaluate(denoiser, step):
        seen.append(next(denoiser.parameters()).dtype)
        return check(denoiser, step)

    directory = run("run", {"training.precision": "fp64", "training.steps": 2}, evaluate=evaluate)
    assert seen == [torch.float64]
    assert {tensor.dtype for name, tensor in load_file(directory / PROGRESS).items() if "step:" not in name} == {
        torch.float64
    }
    assert next(load_checkpoint(directory).denoiser.parameters()).dtype == torch.float32


def test_the_last_step_is_evaluated(run):
    seen = []
    run("run", {"training.steps": 5, "training.evaluate_every": 2}, evaluate=lambda _, step: {"q": seen.append(step)})
    assert seen == [2, 4, 5]


@pytest.mark.parametrize(
    "changes", [{"diffusion.size_mode": "dummy"}, {"diffusion.gauge": "y"}, {"training.fragments": 1.0}], ids=str
)
def test_other_ways_of_noising_are_learnt(make_trainer, molecules, changes):
    trainer = make_trainer({"training.learning_rate": 0.01, "network.hidden_features": 16, **changes})
    batches = TrainingBatches(molecules, trainer.atom_types, 24, 0)

    def loss():
        """Of all molecules under the corruption of step 0."""
        with torch.no_grad():
            return float(replace(trainer, step=0).losses(batches.batch(0), torch.arange(24))[0].mean())

    before = loss()
    for step in range(40):
        trainer.advance(batches.batch(step))
    assert loss() < 0.8 * before
