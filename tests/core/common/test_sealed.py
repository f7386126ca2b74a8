"""Every single byte of a file with a checksum counts, and other programs read it as they always did."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ead_core.checkpoints.checkpoint import PRETRAINED
from ead_core.common.sealed import read_sealed, write_sealed
from ead_core.errors import DamagedFileError

TENSORS = {"a": torch.arange(5.0), "b": torch.tensor([[1, 2], [3, 4]]), "c": torch.zeros(0, 3, dtype=torch.bfloat16)}


@pytest.fixture
def sealed(tmp_path):
    write_sealed(tmp_path / "x.safetensors", TENSORS, {"format": "x-1", "step": "7"})
    return tmp_path / "x.safetensors"


def test_a_round_trip_keeps_everything(sealed):
    tensors, metadata = read_sealed(sealed)
    assert metadata == {"format": "x-1", "step": "7"}
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )


def test_other_programs_read_it(sealed):
    assert load_file(sealed).keys() == TENSORS.keys()
    with safe_open(sealed, "pt") as file:
        assert file.metadata().keys() == {"format", "step", "checksum", "sha256"}


def test_a_flipped_bit_of_any_byte_is_noticed(sealed):
    """Also of the header, and of the checksum itself."""
    content = sealed.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        sealed.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="is damaged: ") as error:
            read_sealed(sealed)
        assert "\n" not in str(error.value)


def test_every_cut_is_noticed(sealed):
    content = sealed.read_bytes()
    for length in range(0, len(content), 5):
        sealed.write_bytes(content[:length])
        with pytest.raises(DamagedFileError):
            read_sealed(sealed)


def test_a_file_without_a_checksum_is_read(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x", {"format": "old"})
    assert read_sealed(tmp_path / "x")[1] == {"format": "old"}
    save_file({"a": torch.ones(2)}, tmp_path / "x")
    assert read_sealed(tmp_path / "x")[1] == {}


@pytest.mark.parametrize(
    "path", sorted(PRETRAINED.glob("*/*.safetensors")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_what_is_bundled_has_checksums_that_fit(path):
    read_sealed(path)
    with safe_open(path, "pt") as file:
        assert "sha256" in file.metadata()
