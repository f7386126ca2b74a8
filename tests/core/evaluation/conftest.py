"""Measuring in this process, with a cache of its own."""

import pytest

from ...in_this_process import in_this_process


@pytest.fixture(scope="module", autouse=True)
def _in_this_process():
    with in_this_process():
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
