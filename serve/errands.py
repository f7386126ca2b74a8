"""Errands: what takes long or reads what may be hostile, and is therefore done in a process of its own.

They end in a value, also where they are refused: Ray Serve would write the traceback of an exception for every caller.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ead_core.errors import EADError


class Refused(NamedTuple):
    """Nothing came of it, and why; None if that is not for clients."""

    sentence: str | None


class Made(NamedTuple):
    """What came of it, and sentences that were said meanwhile."""

    value: Any
    notes: list[str]


Outcome = Made | Refused


def outcome(errand: Callable[..., Any], *given: Any) -> Outcome:
    """What a function makes of its arguments."""
    from ead_core.notes import noted

    notes: list[str] = []
    try:
        with noted(notes.append):
            return Made(errand(*given), notes)
    except EADError as error:
        return Refused(str(error))
