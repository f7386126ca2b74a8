"""Molecules are measured, relaxed and judged here, without the seconds that other processes need to start."""

from contextlib import contextmanager

import pytest

from ead_core.evaluation import jury, relaxation, run
from ead_core.evaluation.isolated_workers import Outcome
from ead_core.sampling import delivery


class PoolHere:
    """As `IsolatedPool`, in this process."""

    def __init__(self, task, workers, stages=None):
        self.task, self.waiting = task, []

    __enter__ = lambda self: self  # noqa: E731
    __exit__ = lambda self, *_: None  # noqa: E731
    __len__ = lambda self: len(self.waiting)  # noqa: E731
    ready = property(len)

    def __class_getitem__(cls, _):
        return cls

    def submit(self, origin, chunk, task=None):
        self.waiting.append((origin, chunk, task or self.task))

    def take(self):
        origin, chunk, task = self.waiting.pop(0)
        return origin, [Outcome(chunk, (task(chunk),))]


def done_here(task, work, workers, stages=None):
    """As `done_apart`, in this process."""
    for origin, chunk in work:
        yield origin, [Outcome(chunk, (task(chunk),))]


@contextmanager
def in_this_process():
    """For the length of a block, molecules are measured, relaxed and judged without the seconds that other processes
    need to start; test_isolated_workers.py has those.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (run, relaxation):
            patch.setattr(module, "done_apart", done_here)
        for module in (delivery, jury):
            patch.setattr(module, "IsolatedPool", PoolHere)
        yield
