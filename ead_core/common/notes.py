"""What the core has to say while it works, for whoever shows it: a screen, a log, or a machine elsewhere."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Notes(logging.Handler):
    def __init__(self, show: Callable[[str], object]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


@contextmanager
def noted(show: Callable[[str], object]) -> Iterator[None]:
    """Hand the core's notes to a function for the length of a block; otherwise only its warnings reach the screen."""
    logger, handler = logging.getLogger("ead_core"), _Notes(show)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
