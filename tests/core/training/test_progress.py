"""Rough handling of a training's folder: damage is noticed, nobody is in another's way, and nothing good is lost."""

import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ead_core.checkpoints.checkpoint import WEIGHTS, load_checkpoint
from ead_core.common.locks import LOCK, only_writer
from ead_core.data.dataset import compute_statistics
from ead_core.errors import CheckpointError, OutputError, TrainingError
from ead_core.notes import noted
from ead_core.training.fit import fit
from ead_core.training.monitor import LossWindow
from ead_core.training.progress import BEFORE, PROGRESS, steps_done


@pytest.fixture
def run(make_config, molecules, tmp_path):
    """`fit` with dotted settings in a folder; gives the folder and what was noted."""

    def run(steps, data=molecules, name="run", evaluate=None, **settings):
        notes = []
        config = make_config({"training.steps": steps, "training.decay_fraction": 0, **settings})
        with noted(notes.append):
            statistics = compute_statistics(data, name="chains", sha256="0" * 64)
            fit(config, data, statistics, tmp_path / name, evaluate=evaluate)
        return notes

    return run


@pytest.fixture(scope="module")
def four_steps(make_config, molecules, tmp_path_factory):
    folder = tmp_path_factory.mktemp("four") / "run"
    statistics = compute_statistics(molecules, name="chains", sha256="0" * 64)
    for steps in (2, 4):
        settings = {"training.steps": steps, "training.decay_fraction": 0}
        fit(make_config(settings), molecules, statistics, folder)
    return folder


@pytest.fixture
def folder(four_steps, tmp_path):
    """A run of four steps that also keeps the state of step 2."""
    return shutil.copytree(four_steps, tmp_path / "run")


@pytest.fixture(scope="module")
def six_steps(make_config, molecules, tmp_path_factory):
    """What an undisturbed run comes to."""
    statistics = compute_statistics(molecules, name="chains", sha256="0" * 64)
    settings = {"training.steps": 6, "training.decay_fraction": 0}
    return fit(make_config(settings), molecules, statistics, tmp_path_factory.mktemp("six") / "run")


def flip(position):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return damage


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "text": lambda path: path.write_text("what?"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "half": cut(0.5),
    "all but the end": cut(0.99),
    "first byte": flip(0),
    "header": flip(0.02),
    "middle": flip(0.5),
    "last byte": flip(1),
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(a, b):
    a, b = load_file(a / PROGRESS), load_file(b / PROGRESS)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_told_and_the_one_before_it_continued_to_the_bit(run, folder, six_steps, damage):
    assert steps_done(folder) == 4
    damage(folder / PROGRESS)
    told, resumed = run(6)
    assert told.startswith(f"{folder / PROGRESS} is ")
    assert told.endswith("; the run goes on from the state before it.")
    assert resumed == f"{folder / BEFORE}: resuming at step 2 of 6."
    assert same(folder, six_steps)
    assert run(6) == [f"{folder / PROGRESS}: resuming at step 6 of 6."]


@pytest.mark.parametrize("damage", [DAMAGES["missing"], DAMAGES["middle"]])
def test_a_damaged_state_before_the_newest_is_not_needed(run, folder, damage):
    damage(folder / BEFORE)
    assert run(5) == [f"{folder / PROGRESS}: resuming at step 4 of 5."]


@pytest.mark.parametrize("damage", [DAMAGES["half"], DAMAGES["header"], DAMAGES["middle"]])
def test_if_both_states_are_damaged_one_sentence_names_them(run, folder, damage):
    damage(folder / PROGRESS)
    damage(folder / BEFORE)
    before = names(folder)
    with pytest.raises(CheckpointError, match="cannot be resumed from: both its states are damaged") as error:
        run(6)
    assert PROGRESS in str(error.value)
    assert BEFORE in str(error.value)
    assert "\n" not in str(error.value)
    assert names(folder) == before


def test_without_another_state_a_damaged_one_is_one_sentence(run, folder):
    (folder / BEFORE).unlink()
    DAMAGES["middle"](folder / PROGRESS)
    with pytest.raises(CheckpointError, match=r"training\.safetensors cannot be resumed from") as error:
        run(6)
    assert "\n" not in str(error.value)


def test_states_without_checksums_are_continued(run, folder):
    """As earlier versions have written them."""
    save_file(load_file(folder / PROGRESS), folder / PROGRESS, {"step": "4", "seconds": "1.5"})
    assert run(5) == [f"{folder / PROGRESS}: resuming at step 4 of 5."]


def test_a_state_of_a_later_version_is_refused_although_there_is_one_before_it(run, folder):
    later = {"format": "ead-training-2", "step": "4", "seconds": "1.5"}
    save_file(load_file(folder / PROGRESS), folder / PROGRESS, later)
    with pytest.raises(CheckpointError, match=r"is the state of a training of version ead-training-2; this program"):
        run(5)
    save_file(load_file(folder / PROGRESS), folder / PROGRESS, {"format": "ead-training-1", "step": "four"})
    assert run(5)[0].startswith(f"{folder / PROGRESS} is damaged: ")


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
def test_a_flipped_byte_of_the_weights_is_noticed(folder, share):
    flip(share)(folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="is incomplete or corrupt") as error:
        load_checkpoint(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_weights_that_were_cut_are_noticed(folder, share):
    cut(share)(folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="is incomplete or corrupt"):
        load_checkpoint(folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, number):
    weights = load_file(folder / WEIGHTS)
    next(iter(weights.values())).view(-1)[-1] = number
    save_file(weights, folder / WEIGHTS, {"format": "ead-checkpoint-1"})
    with pytest.raises(CheckpointError, match="has weights that are no finite numbers"):
        load_checkpoint(folder)


def test_other_molecules_of_the_same_elements_are_refused_unless_they_are_wanted(run, folder, molecules):
    others = replace(molecules, positions=molecules.positions * 1.01)
    with pytest.raises(CheckpointError, match=r"other training molecules; .* by training\.other_data=true") as error:
        run(6, others)
    assert "\n" not in str(error.value)
    assert steps_done(folder) == 4
    told, resumed = run(6, others, **{"training.other_data": True})
    assert told == f"{folder}: the run goes on with other training molecules than before."
    assert resumed == f"{folder / PROGRESS}: resuming at step 4 of 6."
    assert run(7, others) == [f"{folder / PROGRESS}: resuming at step 6 of 7."]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.select(range(23)),
        lambda data: data.select(range(23, -1, -1)),
        lambda data: replace(data, charges=data.charges[::-1]),
    ],
    ids=["fewer", "other order", "other elements of the atoms"],
)
def test_any_change_of_the_molecules_is_noticed(run, folder, molecules, change):
    with pytest.raises(CheckpointError, match="other training molecules"):
        run(6, change(molecules))


def test_a_new_run_notes_nothing_and_keeps_a_clean_folder(run, tmp_path):
    assert run(2) == []
    assert names(tmp_path / "run") == ["config.yaml", WEIGHTS, "stats.json", BEFORE, PROGRESS]


def test_what_a_killed_run_leaves_is_no_other_folder(run, tmp_path):
    (tmp_path / "run").mkdir()
    for name in (LOCK, ".writing-7-ab.yaml"):
        (tmp_path / "run" / name).write_text("")
    run(1)
    assert steps_done(tmp_path / "run") == 1


def test_a_second_training_in_the_folder_is_refused_while_the_first_goes_on(run, tmp_path):
    refused = []

    def evaluate(_, step):
        with pytest.raises(OutputError, match=r"another training is writing to .*/run; wait for it") as error:
            run(9)
        refused.append(str(error.value))
        return {}

    run(2, evaluate=evaluate)
    assert len(refused) == 1
    assert "\n" not in refused[0]
    assert steps_done(tmp_path / "run") == 2
    run(3)


HOLDS = """
import sys, time
from pathlib import Path
from ead_core.common.locks import only_writer
with only_writer(Path(sys.argv[1]), "in use"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_training_keeps_nobody_out(run, tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path / "run"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another training"):
            run(1)
        process.send_signal(signal.SIGKILL)
    run(1)
    assert not (tmp_path / "run" / LOCK).exists()


def test_who_may_not_write_to_a_lock_may_still_take_it(tmp_path, monkeypatch):
    """It may have been left by another user."""
    opened = type(tmp_path).open

    def of_another_user(path, mode="r"):
        if mode != "r":
            raise PermissionError(13, "Permission denied")
        return opened(path, mode)

    (tmp_path / LOCK).touch()
    monkeypatch.setattr(type(tmp_path), "open", of_another_user)
    with only_writer(tmp_path, "in use"), pytest.raises(OutputError, match="in use"), only_writer(tmp_path, "in use"):
        pass


def test_a_training_that_diverges_stops_and_keeps_the_last_good_state(run, folder, molecules, tmp_path):
    broken = replace(molecules, positions=molecules.positions.copy())
    broken.positions[-1] = float("nan")  # in one molecule
    before = (folder / PROGRESS).read_bytes(), (folder / WEIGHTS).read_bytes()
    with pytest.raises(
        TrainingError, match=r"is no finite number at step \d+; .* keeps the state of step 4\."
    ) as error:
        run(20, broken, **{"training.other_data": True})
    assert "\n" not in str(error.value)
    assert ((folder / PROGRESS).read_bytes(), (folder / WEIGHTS).read_bytes()) == before
    run(5)


def test_no_state_is_saved_between_the_fault_and_its_report(run, folder, molecules):
    broken = replace(molecules, positions=np.full_like(molecules.positions, np.inf))
    with pytest.raises(TrainingError):
        run(20, broken, **{"training.other_data": True, "training.checkpoint_seconds": 1e-9})
    assert steps_done(folder) == 4


def test_a_window_knows_its_first_broken_step():
    window = LossWindow()
    sound, broken = torch.tensor([1.0, 2.0]), torch.tensor([1.0, float("nan")])
    for losses, norm in ((sound, 1.0), (sound, float("inf")), (broken, 1.0)):
        window.add(losses, torch.zeros(2), torch.tensor(norm), 2)
    assert (window.first_broken(), len(window)) == (1, 3)
    window.drain()
    window.add(sound, torch.zeros(2), torch.tensor(1.0), 2)
    assert (window.first_broken(), len(window)) == (None, 1)


def test_threads_of_a_process_keep_each_other_out(run, tmp_path):
    """A lock belongs to whoever opened the file, not to a process."""
    seen = []

    def evaluate(_, step):
        other = threading.Thread(target=lambda: seen.append(_refusal(lambda: run(2))))
        other.start()
        other.join()
        return {}

    run(1, evaluate=evaluate)
    assert seen == [OutputError]


def _refusal(work):
    try:
        work()
    except OutputError as error:
        return type(error)
