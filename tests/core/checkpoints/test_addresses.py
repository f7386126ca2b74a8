"""Addresses of checkpoints: who fetches them is registered from outside, and what is missing is one sentence."""

import sys

import pytest

from ead_core.checkpoints import addresses
from ead_core.checkpoints.addresses import fetch, register_resolver, scheme_of
from ead_core.checkpoints.checkpoint import find_checkpoint, load_checkpoint
from ead_core.errors import CheckpointError


@pytest.fixture
def shelf(make_checkpoint, tmp_path, monkeypatch):
    """A module that fetches `shelf:/NAME` from a folder, registered by name."""
    make_checkpoint(name="shelf/first")
    take = f"def take(address): return Path({str(tmp_path)!r}, 'shelf', address.split('/')[1])"
    (tmp_path / "librarian.py").write_text(f"from pathlib import Path\n{take}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(addresses, "_registered", {})
    register_resolver("shelf", "librarian:take")


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("models:/ead-qm9@champion", "models"),
        ("runs:/0a1b/checkpoint", "runs"),
        ("s3://bucket/model", "s3"),
        ("qm9-small", None),
        ("/home/me/models:/x", None),
        ("runs/mine", None),
        ("C:/models", None),
    ],
)
def test_only_what_has_a_scheme_is_an_address(text, scheme):
    assert scheme_of(text) == scheme


def test_a_registered_resolver_is_imported_when_an_address_is_met(shelf, tmp_path):
    assert "librarian" not in sys.modules
    assert find_checkpoint("shelf:/first") == tmp_path / "shelf" / "first"
    assert load_checkpoint("shelf:/first").name == "first"
    sys.modules.pop("librarian")


def test_an_unknown_scheme_is_one_sentence(shelf):
    with pytest.raises(CheckpointError, match=r"nothing installed can fetch .* gs:/x; known addresses: .*shelf:/…"):
        fetch("gs:/x")


def test_a_resolver_without_its_package_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(addresses, "_registered", {})
    register_resolver("models", "no_such_package.resolver:local_folder")
    with pytest.raises(CheckpointError, match=r"needs the package no_such_package, .* ead\[platform\] brings it"):
        find_checkpoint("models:/ead-qm9@champion")
