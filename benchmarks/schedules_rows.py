"""The rows of `schedules.py`: which settings are compared, and which rows need the measurements of others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scipy.optimize import brentq

RATIO, WINDOW = 0.2, 2  # the paper's best setting on QM9
SYNCHRONOUS = "synchronous"
MODES = ("repeat", "renoise", "hold")
DECISIONS = ("own_noise", "previous")
WINDOWS, PATIENCE = (2, 3, 5, 10), (10, 100)
RATIOS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
FOLLOWED = (3, 5)  # of the windows, each by a control


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: of its file.
        settings: changes to the sampler.
        like: the row whose rates or calls it copies.
        matched: settings that follow from the measurements of that row.
    """

    name: str
    settings: Mapping[str, Any]
    like: str | None = None
    matched: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda measured: {})


def adaptive(**more: Any) -> dict[str, Any]:
    """EAD's schedule with the paper's setting and some changes, as dotted keys."""
    plain = {"policy": "adaptive", "async_ratio": RATIO, "history_window": WINDOW, "max_pauses": 10, **more}
    return {f"sampler.{key}": value for key, value in plain.items()}


def same_rates(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Random pauses with the rates of the row, grid step by grid step."""
    return {"sampler.policy": "random", "sampler.advance_rate": measured["rates"]}


def same_calls(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Whole molecules linger in the stage so that they take as many calls as the row's, with its patience K.

    With probability p they advance, and after K pauses anyway: on average Σ_{k ≤ K} (1 − p)^k calls per level.
    """
    stage, most = len(measured["rates"]), measured["settings"]["sampler.max_pauses"] + 1
    per_level = 1 + (measured["nfe_per_molecule"] - measured["levels"] - 1) / stage
    rate = brentq(lambda p: (1 - (1 - p) ** most) / p - per_level, 1e-6, 1)
    return {"sampler.policy": "random", "sampler.together": True, "sampler.advance_rate": round(rate, 4)}


def window_name(window: int, patience: int) -> str:
    """Of the row of the cross."""
    return f"window-{window}-patience-{patience}"


def together_name(window: int) -> str:
    """Of the control of a window, by whole molecules."""
    return f"together-window-{window}"


def ratio_name(ratio: float) -> str:
    """Of the row of the cross."""
    return f"ratio-{ratio}"


def main_rows() -> list[Row]:
    """Schedules side by side, each control behind the row that it follows."""
    rows = [Row(SYNCHRONOUS, adaptive(async_ratio=0.0)), Row("manual", adaptive(policy="manual"))]
    for decision in DECISIONS:
        for mode in MODES:
            name = f"adaptive-{mode}-{decision}"
            settings = adaptive(pause_mode=mode, decision=decision)
            rows.append(Row(name, settings))
            rows.append(Row(f"random-{mode}-{decision}", settings, like=name, matched=same_rates))
    for mode in ("repeat", "renoise"):
        name = f"adaptive-{mode}-own_noise"
        rows.append(Row(f"together-{mode}", adaptive(pause_mode=mode), like=name, matched=same_calls))
    return rows


def window_rows() -> list[Row]:
    """The cross of windows and patience, at the paper's ratio; behind some, whole molecules that linger as long."""
    rows = []
    for window in WINDOWS:
        for patience in PATIENCE:
            settings = adaptive(history_window=window, max_pauses=patience)
            rows.append(Row(window_name(window, patience), settings))
        if window in FOLLOWED:
            like = window_name(window, PATIENCE[0])
            settings = adaptive(history_window=window)
            rows.append(Row(together_name(window), settings, like=like, matched=same_calls))
    return rows


def ratio_rows() -> list[Row]:
    """The cross of ratios, at the paper's window."""
    return [Row(ratio_name(ratio), adaptive(async_ratio=ratio)) for ratio in RATIOS]
