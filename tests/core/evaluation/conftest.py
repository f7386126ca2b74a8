"""Measuring in this process, with a cache of its own."""

import pytest

from ead_core.evaluation import relaxation, run
from ead_core.evaluation.isolated_workers import Outcome


def done_here(task, work, workers, stages=None):
    """As `done_apart`, without the seconds that other processes need to start; test_contained.py has the real one."""
    for origin, chunk in work:
        yield origin, [Outcome(chunk, (task(chunk),))]


@pytest.fixture(scope="session", autouse=True)
def _in_this_process():
    with pytest.MonkeyPatch.context() as patch:
        for module in (run, relaxation):
            patch.setattr(module, "done_apart", done_here)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
