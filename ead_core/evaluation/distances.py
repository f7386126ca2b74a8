"""How far the distributions of a set are from those of real molecules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rdkit import Chem

from ead_core.evaluation.figure import Figure, Section
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.shapes import BINS, Bins, Histogram, shapes_of, wasserstein
from ead_core.evaluation.tally import Tally

LEAST = 100  # bonds, angles or torsions of a pattern, in the set and in the reference, for a distance
_TITLES = {"bond": "bond lengths, W₁", "angle": "angles, W₁", "torsion": "torsions, W₁"}


@dataclass(frozen=True)
class PatternDistance:
    """Wasserstein-1 distance of a pattern to the reference, in the unit of its kind, and how often it occurs."""

    kind: str
    pattern: str
    distance: float
    seen: int
    reference: int


def pattern_distances(tally: Tally, reference: Tally) -> list[PatternDistance]:
    """The distances of all patterns that occur often enough in both sets, what weighs most first.

    The weight is how often a pattern occurs times its distance in units of its spread in the reference, which makes
    lengths and angles comparable.
    """
    found = []
    for kind, patterns in tally.shapes.items():
        for pattern, counts in patterns.items():
            real = reference.shapes.get(kind, {}).get(pattern)
            if real is not None and min(counts.sum(), real.sum()) >= LEAST:
                distance = wasserstein(counts, real, BINS[kind].width)
                row = PatternDistance(kind, pattern, distance, int(counts.sum()), int(real.sum()))
                found.append((row.seen * distance / _spread(real, BINS[kind]), row))
    return [row for _, row in sorted(found, key=lambda weighed: -weighed[0])]


def _spread(counts: Histogram, bins: Bins) -> float:
    """Standard deviation; at least that of a single bin."""
    mean = np.average(bins.centres, weights=counts)
    return max(float(np.sqrt(np.average((bins.centres - mean) ** 2, weights=counts))), bins.width)


def geometry(tally: Tally, reference: Tally) -> Section:
    """Mean distances, every pattern weighing as often as it occurs; sizes and elements by total variation."""
    section: Section = {}
    rows = pattern_distances(tally, reference)
    for kind, title in _TITLES.items():
        of_kind = [row for row in rows if row.kind == kind]
        known = sum(row.seen for row in of_kind)
        total = sum(int(counts.sum()) for counts in tally.shapes.get(kind, {}).values())
        if known:
            value = sum(row.seen * row.distance for row in of_kind) / known
            section[f"w1_{kind}"] = Figure(title, value, None, total, known, BINS[kind].unit)
    for name, title, ours, real in (
        ("sizes", "sizes, total variation", tally.sizes, reference.sizes),
        ("elements", "elements, total variation", tally.elements, reference.elements),
    ):
        section[name] = Figure(title, _total_variation(ours, real), None, sum(ours.values()), sum(ours.values()))
    return section


def _total_variation(first: Mapping[Any, int], second: Mapping[Any, int]) -> float:
    """Half the sum of the differences of two distributions: the share that would have to change."""
    a, b = max(sum(first.values()), 1), max(sum(second.values()), 1)
    return sum(abs(first.get(key, 0) / a - second.get(key, 0) / b) for key in {*first, *second}) / 2


def _rows(evidence: Evidence) -> Section:
    return geometry(evidence.tally, evidence.reference) if evidence.reference else {}


def _measure(mol: Chem.Mol, tally: Tally) -> dict[str, Any]:
    """Lengths and angles go to the tally; the table has no columns of them."""
    tally.add(Tally(shapes=shapes_of(mol)))
    return {}


GEOMETRY = Part("geometry", "geometry", Cost.CHEAP, _rows, measure=_measure, default=True)
