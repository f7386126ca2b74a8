"""Pieces of work for an engine, small enough to be shared among streams; they travel to other processes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.sampling.conditions import Conditions
from ead_core.sampling.engine import Engine
from ead_core.sampling.requests import Prepared, Request


class Entered(NamedTuple):
    """A piece in an engine: the id of its request, and what is still to be done to its finished molecules."""

    request_id: int
    finish: Callable[[MoleculeSet], MoleculeSet] = lambda molecules: molecules


class Piece(Protocol):
    """Molecules that one engine makes."""

    def __len__(self) -> int:
        """How many molecules."""
        ...

    def enter(self, engine: Engine) -> Entered:
        """Submit them to an engine."""
        ...


@dataclass(frozen=True)
class Attempts:
    """Some of the molecules of a request that has been found to be possible.

    Attributes:
        request: what has been asked for.
        start: what these molecules start from.
    """

    request: Request
    start: Conditions

    def __len__(self) -> int:
        return len(self.start.ids)

    def enter(self, engine: Engine) -> Entered:
        """Submit them to an engine."""
        return Entered(engine.submit(Prepared.of(engine.checkpoint, self.request, self.start)))


def cut(prepared: Prepared, most: int) -> Iterator[Attempts]:
    """The molecules of a request in pieces of at most `most` of nearly equal size, the largest molecules first."""
    order = np.argsort(-prepared.start.sizes, kind="stable")
    for first in range(0, len(order), most):
        yield Attempts(prepared.request, prepared.start.select(np.sort(order[first : first + most])))
