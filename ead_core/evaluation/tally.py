"""What a run adds up over its molecules besides their table: shapes, valences, sizes and elements.

Also the form of a reference: the tally of real molecules, with which those of a model are compared.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ead_core.chemistry.valency import ValencyCounts
from ead_core.common.containers import load_arrays
from ead_core.common.documents import Document, parse_json
from ead_core.common.files import write_aside
from ead_core.errors import DataError
from ead_core.evaluation.moments import Moments
from ead_core.evaluation.scaffolds import Scaffolds
from ead_core.evaluation.shapes import BINS, Shapes, add_shapes

COUNTS = "counts"
MEAN, COVARIANCE = "activations mean", "activations covariance"


class TallyCounts(Document):
    """What a tally stores besides its arrays; the first version had neither scaffolds nor activations.

    Attributes:
        sizes: molecules by number of atoms.
        elements: atoms by symbol.
        valencies: kind of atom, its aromatic and its other bonds, and how many atoms there are.
        scaffolds: see `Scaffolds`.
        activations: molecules behind the moments of ChemNet's activations.
    """

    kind: ClassVar[str] = "the tally of an evaluation"

    version: Literal[1, 2] = 2
    molecules: int
    perceived: int
    sizes: dict[int, int]
    elements: dict[str, int]
    valencies: list[tuple[str, int, int, int]]
    scaffolds: Scaffolds | None = None
    activations: int | None = None


@dataclass
class Tally:
    """Counts over molecules that two sets are compared by.

    Attributes:
        molecules: read.
        perceived: of them, those whose bonds could be perceived; shapes and valences are theirs.
        sizes: molecules by number of atoms.
        elements: atoms by symbol.
        shapes: histograms of bonds, angles and torsions.
        valencies: atoms by kind and valency.
        scaffolds: of all molecules, once their table is finished; None if not wanted.
        activations: of ChemNet, in the same form.
    """

    molecules: int = 0
    perceived: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    shapes: Shapes = field(default_factory=dict)
    valencies: ValencyCounts = field(default_factory=Counter)
    scaffolds: Scaffolds | None = None
    activations: Moments | None = None

    def add(self, other: "Tally") -> None:
        """Add the counts of `other`, a part of the same set."""
        self.molecules += other.molecules
        self.perceived += other.perceived
        self.sizes.update(other.sizes)
        self.elements.update(other.elements)
        self.valencies.update(other.valencies)
        add_shapes(self.shapes, other.shapes)

    def save(self, path: Path) -> None:
        """Write one compressed .npz file (OutputError if it cannot be written)."""
        counts = TallyCounts(
            molecules=self.molecules,
            perceived=self.perceived,
            sizes=dict(sorted(self.sizes.items())),
            elements=dict(sorted(self.elements.items())),
            valencies=[(kind, *valency, count) for (kind, valency), count in sorted(self.valencies.items())],
            scaffolds=self.scaffolds,
            activations=self.activations.count if self.activations else None,
        )
        kept: dict[str, Any] = {}
        if self.activations:
            kept = {MEAN: self.activations.mean.astype(np.float32), COVARIANCE: self.activations.halved()}
        arrays: dict[str, Any] = {COUNTS: np.array(json.dumps(counts.to_json()))} | {
            f"{kind} {pattern}": histogram.astype(np.uint32)
            for kind, patterns in self.shapes.items()
            for pattern, histogram in sorted(patterns.items())
        }
        with write_aside(path) as aside:
            np.savez_compressed(aside, **arrays, **kept)

    @classmethod
    def load(cls, path: Path) -> "Tally":
        """Read what `save` has written.

        Raises:
            DataError: another kind of file.
        """
        try:
            arrays = load_arrays(path)
            stored = parse_json(str(arrays.pop(COUNTS)), str(path))
            return cls._restored(TallyCounts.parse(stored, str(path)), arrays)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not {TallyCounts.kind}.") from error

    @classmethod
    def _restored(cls, counts: TallyCounts, arrays: Mapping[str, Any]) -> "Tally":
        shapes: Shapes = {kind: {} for kind in BINS}
        for name in (name for name in arrays if name not in (MEAN, COVARIANCE)):
            kind, pattern = name.split(" ", 1)
            shapes[kind][pattern] = arrays[name].astype(np.int64)
        moments = counts.activations and Moments.restored(counts.activations, arrays[MEAN], arrays[COVARIANCE])
        return cls(
            counts.molecules,
            counts.perceived,
            Counter(counts.sizes),
            Counter(counts.elements),
            shapes,
            Counter({(kind, (aromatic, others)): count for kind, aromatic, others, count in counts.valencies}),
            counts.scaffolds,
            moments or None,
        )

    def common(self, least: int) -> "Tally":
        """The tally without patterns that were seen less than `least` times: they mean little and take most room."""
        shapes = {
            kind: {pattern: counts for pattern, counts in patterns.items() if counts.sum() >= least}
            for kind, patterns in self.shapes.items()
        }
        return replace(self, shapes=shapes)
