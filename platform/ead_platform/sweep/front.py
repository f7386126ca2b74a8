"""Which settings are worth having: the Pareto front of the finished trials, and three of it under the names of presets.

A setting is on the front if no other is at least as good in every respect and better in one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.config.presets import PresetName
from ead_platform.sweep.objectives import CALLS, Goals, Objective, Row

Record = Mapping[str, Any]


def respects(goals: Goals) -> tuple[Objective, ...]:
    """In which respects settings are compared: the objectives, and their cost where these name but one."""
    calls = () if goals.first.name == CALLS else (Objective(CALLS, maximise=False),)
    return goals.objectives if len(goals.objectives) > 1 else (*goals.objectives, *calls)


def front(goals: Goals, rows: Sequence[Record]) -> list[Record]:
    """The trials on the front that keep all constraints, best in the first objective first."""
    kept = [row for row in rows if goals.kept(row)]
    gains = _gains(respects(goals), kept)
    best = [
        row
        for row, own in zip(kept, gains, strict=True)
        if not ((gains >= own).all(axis=1) & (gains > own).any(axis=1)).any()
    ]
    return sorted(best, key=goals.first.gain, reverse=True)


def ranked(goals: Goals, rows: Sequence[Record]) -> list[Record]:
    """Trials by the first objective, those that keep all constraints first; ties go to the cheaper one."""
    return sorted(rows, key=lambda row: (not goals.kept(row), -goals.first.gain(row), row[CALLS]))


def recommended(goals: Goals, rows: Sequence[Record]) -> dict[PresetName, Record]:
    """Three settings of the front, which may be the same.

    `best` is the best in the first objective and `fast` the one with the fewest network calls; `balanced` is nearest to
    the corner where all respects would be at their best on the front, each in units of its spread there. Empty where
    no trial keeps all constraints.
    """
    found = front(goals, rows)
    if not found:
        return {}
    gains = _gains(respects(goals), found)
    spread = np.ptp(gains, axis=0)
    lacking = (gains.max(axis=0) - gains) / np.where(spread > 0, spread, 1)
    return {
        "fast": min(found, key=_calls),
        "balanced": found[int(np.linalg.norm(lacking, axis=1).argmin())],
        "best": found[0],
    }


def _gains(compared: Sequence[Objective], rows: Sequence[Row]) -> NDArray[np.float64]:
    """[trials, respects], more being better."""
    return np.array([[each.gain(row) for each in compared] for row in rows], dtype=float).reshape(-1, len(compared))


def _calls(row: Row) -> float:
    return float(row[CALLS])
