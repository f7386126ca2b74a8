"""Chosen settings again, on molecules that had no part in choosing them: the best of many looks better than it is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ead_platform.sweep.measures import measure
from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.study import (
    SYNCHRONOUS,
    Campaign,
    departures,
    identity,
    run_point_in_parallel,
    shared_prefix,
)

Point = Mapping[str, Any]


def is_baseline(campaign: Campaign, point: Point) -> bool:
    """Whether a point makes the molecules of the synchronous baseline."""
    return identity(departures(campaign, point)) == identity(SYNCHRONOUS)


def confirm(
    campaign: Campaign, points: Mapping[str, Point], goals: Goals, folder: Path, progress: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """Figures of settings, and their paired differences to the baseline, on as many fresh molecules as a trial had.

    Args:
        campaign: of the sweep, whose molecules are not made again.
        points: settings by name; equal ones are made once, and the baseline is one that is made anyway.
        goals: which measures are made.
        folder: of the prefix of the fresh molecules.
        progress: receives the number of molecules of the prefix done since its last call.
    """
    fresh = replace(campaign, first=campaign.samples)
    indices = {fresh.branch_index(point) for point in points.values() if not fresh.begins_anew(point)}
    buckets = shared_prefix(fresh, indices, folder, progress)
    baseline, _ = measure(run_point_in_parallel(fresh, buckets, SYNCHRONOUS), None, goals.parts)
    made: dict[Any, dict[str, float]] = {}
    for point in points.values():
        if identity(point) not in made:
            _, made[identity(point)] = measure(run_point_in_parallel(fresh, buckets, point), baseline, goals.parts)
    return {name: made[identity(point)] for name, point in points.items()}
