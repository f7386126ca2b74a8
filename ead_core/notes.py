"""What a user should know although it is no mistake: one channel for notes, whoever shows them.

A note is a Python warning of its own category, so that it reaches a notebook, a log, or a machine elsewhere; the
programs print it on standard error.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class Note(UserWarning):
    """Something that is no mistake but that a user should know, such as files that were not read."""


def note(sentence: str) -> None:
    """Show the user a sentence; each is shown once."""
    warnings.warn(sentence, Note, stacklevel=2)


def note_all(sentences: Iterable[str]) -> None:
    """Show the user several sentences, such as all that reading or writing a file had to say."""
    for sentence in sentences:
        warnings.warn(sentence, Note, stacklevel=2)


@contextmanager
def noted(show: Callable[[str], object]) -> Iterator[None]:
    """Hand notes to a function for the length of a block; other warnings go on as before."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", Note)
        others = warnings.showwarning

        def hand_over(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Note):
                show(str(message))
            else:
                others(message, category, *place, **more)

        warnings.showwarning = hand_over
        yield
