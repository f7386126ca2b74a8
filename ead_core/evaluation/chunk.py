"""What goes to the processes of an evaluation, and what comes back."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.usual import USUAL, ValencyTable
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.part import Cost
from ead_core.evaluation.parts import chosen
from ead_core.evaluation.tally import Tally

Row = dict[str, Any]

PUBLISHED, STRICT = "published", "strict"  # protocols
UNREADABLE = "unreadable"  # the beginning of the failure of a record that is no molecule


@dataclass(frozen=True)
class Measures:
    """Which measures are made of each molecule, and within which limits.

    Attributes:
        parts: of `parts.PARTS`, or `PUBLISHED`, this protocol alone.
        seconds: that one molecule may take.
        valencies: that count as usual.
    """

    parts: frozenset[str]
    seconds: float
    valencies: ValencyTable = field(default_factory=lambda: USUAL)

    @property
    def stages(self) -> tuple[str, ...]:
        """What rests on perceived bonds, in the order in which it is measured."""
        if PUBLISHED in self.parts:
            return ()
        return (STRICT, *(part.name for part in chosen(self.parts, Cost.CHEAP, Cost.SAMPLED)))


@dataclass(frozen=True)
class Chunk:
    """Consecutive molecules of a file, measured together.

    Attributes:
        first: number of the first among all attempts.
        molecules: [B] molecules.
        sampled: [B] whether the sampled parts are measured on it.
    """

    first: int
    molecules: MoleculeSet
    sampled: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.molecules)

    def single(self, index: int) -> "Chunk":
        """One molecule of it."""
        return Chunk(self.first + index, self.molecules.select([index]), self.sampled[[index]])


@dataclass
class Measured:
    """Rows and tally of a chunk."""

    rows: list[Row]
    tally: Tally = field(default_factory=Tally)
