"""A checkpoint is a folder of plain files that loads anywhere, and every defect of it is one sentence."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from ead_core.checkpoints import checkpoint as module
from ead_core.checkpoints.checkpoint import (
    CONFIG,
    STATISTICS,
    WEIGHTS,
    bundled,
    find_checkpoint,
    load_checkpoint,
    new_denoiser,
    save_recipe,
    save_weights,
)
from ead_core.common.files import write_aside
from ead_core.errors import CheckpointError, OutputError
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.inputs import DenoiserInput


@pytest.fixture
def directory(make_checkpoint):
    return make_checkpoint()


def predict(denoiser):
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(2, 4, 6, generator=generator)
    return denoiser(DenoiserInput(z, torch.full((2, 4), 7), torch.ones(2, 4, dtype=torch.bool)))


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_round_trip_keeps_predictions_to_the_bit(tmp_path, make_config, statistics, kind):
    config = make_config({"network.kind": kind})
    denoiser = new_denoiser(config, statistics)
    save_recipe(tmp_path / "a", config, statistics)
    save_weights(tmp_path / "a", denoiser.state_dict())
    loaded = load_checkpoint(tmp_path / "a")
    assert torch.equal(predict(loaded.denoiser), predict(denoiser))
    assert (loaded.name, loaded.config, loaded.statistics) == ("a", config, statistics)
    assert loaded.atom_types.symbols == ("C", "O")
    assert not loaded.denoiser.training
    assert not any(p.requires_grad for p in loaded.denoiser.parameters())


def test_the_name_is_the_folders_however_it_is_given(directory, monkeypatch):
    monkeypatch.chdir(directory)
    assert load_checkpoint(".").name == "checkpoint"


def test_there_is_no_pickle(directory):
    """Every file is text or safetensors, which starts with the length of a JSON header."""
    assert sorted(path.name for path in directory.iterdir()) == [CONFIG, WEIGHTS, STATISTICS]
    assert yaml.safe_load((directory / CONFIG).read_text())["network"]["layers"] == 1
    assert json.loads((directory / STATISTICS).read_text())["atom_numbers"] == [6, 8]
    content = (directory / WEIGHTS).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"].keys() == {"format", "checksum", "sha256"}
    assert header["__metadata__"]["format"] == "ead-checkpoint-1"


def test_bundled_checkpoints_are_found_by_name(make_checkpoint, tmp_path, monkeypatch):
    for name in ("small", "large"):
        make_checkpoint(name=name)
    (tmp_path / "unfinished").mkdir()
    monkeypatch.setattr(module, "PRETRAINED", tmp_path)
    assert bundled() == ["large", "small"]
    assert find_checkpoint("small") == tmp_path / "small"
    assert load_checkpoint("small").name == "small"
    with pytest.raises(CheckpointError, match=r"'tiny' is neither .* nor a bundled checkpoint \(large, small\)\."):
        load_checkpoint("tiny")


def test_a_folder_goes_before_a_bundled_name(make_checkpoint, tmp_path, monkeypatch):
    make_checkpoint(name="same")
    make_checkpoint({"network.layers": 2}, name="elsewhere/same")
    monkeypatch.setattr(module, "PRETRAINED", tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_checkpoint("same").config.network.layers == 2


def remove(name):
    return lambda directory: (directory / name).unlink()


def write(name, content):
    return lambda directory: (directory / name).write_text(content)


def edit(name, old, new):
    return lambda directory: (directory / name).write_text((directory / name).read_text().replace(old, new))


def resave(metadata=None, change=lambda weights: weights):
    def damage(directory):
        header = metadata or {"format": "ead-checkpoint-1"}
        save_file(change(load_file(directory / WEIGHTS)), directory / WEIGHTS, header)

    return damage


def truncate(directory):
    content = (directory / WEIGHTS).read_bytes()
    (directory / WEIGHTS).write_bytes(content[: len(content) // 2])


def without_one(weights):
    return dict(list(weights.items())[1:])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove(WEIGHTS), "is neither a checkpoint directory (with model.safetensors) nor"),
        (remove(CONFIG), "No such file"),
        (remove(STATISTICS), "No such file"),
        (write(WEIGHTS, "garbage"), "is incomplete or corrupt"),
        (write(WEIGHTS, ""), "is incomplete or corrupt"),
        (truncate, "is incomplete or corrupt"),
        (
            resave({"format": "ead-checkpoint-0"}),
            "is a checkpoint of version ead-checkpoint-0; this program reads ead-checkpoint-1.",
        ),
        (resave({"other": "x"}), "is not a checkpoint (format: Field required)."),
        (resave(change=without_one), "weights do not fit the network"),
        (edit(CONFIG, "hidden_features: 8", "hidden_features: 9"), "weights do not fit the network"),
        (edit(STATISTICS, "[\n  6,\n  8\n ]", "[6, 7, 8]"), "weights do not fit the network"),
        (write(CONFIG, "data: [1\nnetwork: }\n"), "is incomplete or corrupt"),
        (write(CONFIG, ""), "is incomplete or corrupt"),
        (
            edit(CONFIG, "layers:", "leyers:"),
            "unknown configuration key 'network.leyers'; did you mean network.layers?",
        ),
        (write(STATISTICS, "{"), "is incomplete or corrupt"),
        (write(STATISTICS, "[]"), "stats.json is not the statistics of training data"),
        (write(STATISTICS, "{}"), "stats.json is not the statistics of training data (atom_numbers: Field required)"),
        (
            edit(STATISTICS, '"schema_version": 1', '"schema_version": 2'),
            "stats.json is the statistics of training data of version 2; this program reads 1.",
        ),
    ],
    ids=lambda value: None if callable(value) else value[:40],
)
def test_every_defect_is_one_sentence(directory, damage, sentence):
    damage(directory)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(directory)
    assert sentence in str(error.value)
    assert str(directory) in str(error.value)
    assert "\n" not in str(error.value)


def test_statistics_without_a_version_as_the_first_checkpoints_have_them_are_read(directory):
    before = load_checkpoint(directory)
    stored = json.loads((directory / STATISTICS).read_text())
    assert stored.pop("schema_version") == 1
    (directory / STATISTICS).write_text(json.dumps(stored))
    assert load_checkpoint(directory).statistics == before.statistics
    assert load_checkpoint(directory).fingerprint() == before.fingerprint()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere' is neither"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(directory):
    before = (directory / CONFIG).read_text()

    def die_half_way():
        with write_aside(directory / CONFIG) as aside:
            aside.write_text("half of it")
            assert aside.parent == directory
            assert (directory / CONFIG).read_text() == before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_half_way()
    assert (directory / CONFIG).read_text() == before
    assert sorted(path.name for path in directory.iterdir()) == [CONFIG, WEIGHTS, STATISTICS]


def test_a_killed_writer_does_not_damage_the_checkpoint(directory):
    """What SIGKILL leaves behind is a file of another name."""
    (directory / ".writing-x.safetensors").write_bytes(b"half")
    assert load_checkpoint(directory).name == "checkpoint"


def test_files_can_be_read_by_others(directory):
    assert (directory / WEIGHTS).stat().st_mode & 0o044 == 0o044


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, make_config, statistics):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/run/config\.yaml: "):
        save_recipe(tmp_path / "file" / "run", make_config(), statistics)
