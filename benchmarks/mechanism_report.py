"""Tables of `mechanism.py`: temperatures with their intervals, and what rows differ in."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from held_out_loss import EDGES
from mechanism_states import PARTS
from numpy.typing import NDArray
from quality_figures import heading, line, percent
from resampled import ratios, with_interval
from schedules_rows import RATIO, SYNCHRONOUS

from ead_core.common.intervals import paired_difference, wilson
from ead_core.evaluation.difference import Difference

Found = Mapping[str, Any]  # of a row: sums [M, 2, bands, 2] as in `Thermometer`; stable [M], nfe_per_molecule
PAIRS = (
    ("together-renoise", SYNCHRONOUS),
    ("corrector", SYNCHRONOUS),
    ("together-repeat", SYNCHRONOUS),
    ("cooled-0.85", SYNCHRONOUS),
    ("cooled-0.85", "together-renoise"),
    *((f"adaptive-{mode}", f"together-{mode}") for mode in ("repeat", "renoise")),
    ("together-repeat", "together-renoise"),
)
BELOW = sum(edge < RATIO for edge in EDGES)  # bands in which rows differ


def temperatures(found: Found) -> NDArray[np.float64]:
    """[1 + draws, bands, 2] of a row (resampled.py)."""
    sums = np.array(found["sums"])
    values: NDArray[np.float64] = ratios(sums[:, 0], sums[:, 1])
    return values


def visits(found: Found, base: Found) -> list[str]:
    """How often atoms are visited in each band below `RATIO`, times those of another row: ε̂² of partners adds up so."""
    mine, theirs = (np.array(each["sums"])[:, 1, :BELOW].sum(axis=(0, 2)) for each in (found, base))
    with np.errstate(invalid="ignore"):  # where nothing was measured
        return [f"{share:.2f}" for share in mine / theirs]


def shown(values: NDArray[np.float64], shape: str) -> Iterator[str]:
    """A cell per band of values [1 + draws, bands]; empty where there is none."""
    for band in values.T:
        if np.isfinite(band[0]):
            value, low, high = with_interval(band)
            yield f"{value:{shape}} ({low:{shape}} to {high:{shape}})"
        else:
            yield ""


def tables(rows: Mapping[str, Found]) -> Iterator[str]:
    """Temperatures by row, the differences of rows that are compared, and where rows pause."""
    bands = [f"{low:g}–{high:g} T" for low, high in pairwise(EDGES)]
    heat = {name: temperatures(found) for name, found in rows.items()}
    for number, part in enumerate(PARTS):
        yield f"\n**Temperature of {part}**, by level\n"
        yield heading(["row", "calls", "stable %", *bands])
        for name, found in rows.items():
            stable = found.get("stable", [])
            share = percent((np.mean(stable), wilson(sum(stable), len(stable))) if stable else None)
            calls = f"{found['nfe_per_molecule']:.0f}" if stable else ""
            yield line([name, calls, share, *shown(heat[name][..., number], ".2f")])
        yield f"\n**Differences of the temperature of {part}**, and of stable molecules in points\n"
        yield heading(["row", "minus", "stable, points", *bands[:BELOW]])
        for name, other in PAIRS:
            before, after = np.array(rows[other]["stable"]), np.array(rows[name]["stable"])
            pair = paired_difference(before, after)
            points = Difference(pair.difference, pair.interval, pair.p_value, len(after)).points()
            yield line([name, other, points, *shown((heat[name] - heat[other])[:, :BELOW, number], "+.2f")])
    yield f"\n**Visits** below {RATIO:g} T, times those of the synchronous sampler\n"
    yield heading(["row", *bands[:BELOW]])
    for name, found in rows.items():
        yield line([name, *visits(found, rows[SYNCHRONOUS])])
