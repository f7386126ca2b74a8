"""What a run adds up over its molecules besides their table: shapes, valences, sizes and elements.

Also the form of a reference: the tally of real molecules, with which those of a model are compared.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ead_core.errors import DataError
from ead_core.evaluation.shapes import BINS, Shapes, add_shapes
from ead_core.evaluation.valency import ValencyCounts
from ead_core.files import write_aside

VERSION = 1
COUNTS = "counts"


@dataclass
class Tally:
    """Counts over molecules.

    Attributes:
        molecules: read.
        perceived: of them, those whose bonds could be perceived; shapes and valences are theirs.
        sizes: molecules by number of atoms.
        elements: atoms by symbol.
        shapes: histograms of bonds, angles and torsions.
        valencies: atoms by kind and valency.
    """

    molecules: int = 0
    perceived: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    shapes: Shapes = field(default_factory=dict)
    valencies: ValencyCounts = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Add the counts of `other`."""
        self.molecules += other.molecules
        self.perceived += other.perceived
        self.sizes.update(other.sizes)
        self.elements.update(other.elements)
        self.valencies.update(other.valencies)
        add_shapes(self.shapes, other.shapes)

    def save(self, path: Path) -> None:
        """Write one compressed .npz file (OutputError if it cannot be written)."""
        counts = {
            "version": VERSION,
            "molecules": self.molecules,
            "perceived": self.perceived,
            "sizes": {str(size): count for size, count in sorted(self.sizes.items())},
            "elements": dict(sorted(self.elements.items())),
            "valencies": [[kind, *valency, count] for (kind, valency), count in sorted(self.valencies.items())],
        }
        arrays: dict[str, Any] = {COUNTS: np.array(json.dumps(counts))} | {
            f"{kind} {pattern}": histogram.astype(np.uint32)
            for kind, patterns in self.shapes.items()
            for pattern, histogram in sorted(patterns.items())
        }
        with write_aside(path) as aside:
            np.savez_compressed(aside, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Tally":
        """Read what `save` has written.

        Raises:
            DataError: another kind of file.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                counts = json.loads(str(stored[COUNTS]))
                arrays = {name: stored[name].astype(np.int64) for name in stored.files if name != COUNTS}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} is not the tally of an evaluation.") from error
        if counts.get("version") != VERSION:
            raise DataError(f"{path} is a tally of version {counts.get('version')}; this program reads {VERSION}.")
        return cls._restored(counts, arrays)

    @classmethod
    def _restored(cls, counts: Mapping[str, Any], arrays: Mapping[str, Any]) -> "Tally":
        shapes: Shapes = {kind: {} for kind in BINS}
        for name, histogram in arrays.items():
            kind, pattern = name.split(" ", 1)
            shapes[kind][pattern] = histogram
        return cls(
            counts["molecules"],
            counts["perceived"],
            Counter({int(size): count for size, count in counts["sizes"].items()}),
            Counter(counts["elements"]),
            shapes,
            Counter({(kind, (aromatic, others)): count for kind, aromatic, others, count in counts["valencies"]}),
        )

    def common(self, least: int) -> "Tally":
        """Without patterns that were seen less than `least` times, which tell little and take most of the room."""
        shapes = {
            kind: {pattern: counts for pattern, counts in patterns.items() if counts.sum() >= least}
            for kind, patterns in self.shapes.items()
        }
        return Tally(self.molecules, self.perceived, self.sizes, self.elements, shapes, self.valencies)
