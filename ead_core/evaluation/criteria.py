"""What molecules at hand must be to count as good, by name."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.evaluation.chunk import Chunk, Measures
from ead_core.evaluation.measure import measure_chunk

CRITERIA = {"valid": "strict_valid", "stable": "stable"}  # column of the table by name
Criterion = Callable[[MoleculeSet], NDArray[np.bool_]]
_PATIENCE = 86_400.0  # seconds: nobody else waits for this process


def parse_criteria(text: str) -> tuple[str, ...]:
    """The names in a text such as `valid & stable` (ConfigError for one that does not exist)."""
    names = tuple(name.strip() for name in text.split("&"))
    for name in names:
        if name not in CRITERIA:
            raise ConfigError(f"'{name}' is no criterion; accepted are {', '.join(CRITERIA)}, joined by &.")
    return names


def meets(molecules: MoleculeSet, names: Sequence[str]) -> NDArray[np.bool_]:
    """Which molecules [M] meet all criteria: `valid` by the strict protocol, `stable` by the published one."""
    if not len(molecules):
        return np.zeros(0, dtype=bool)
    chunk = Chunk(0, molecules, np.zeros(len(molecules), dtype=bool))
    rows = measure_chunk(chunk, Measures(frozenset(), _PATIENCE)).rows
    return np.array([all(row[CRITERIA[name]] for name in names) for row in rows])
